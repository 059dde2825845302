//! Run configuration, training loop, metrics and exact checkpoints.
