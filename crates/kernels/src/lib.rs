//! Fused differentiable operations with a plain reference beside each.
