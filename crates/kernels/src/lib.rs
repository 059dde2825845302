//! Fused differentiable operations with a plain reference beside each.
//!
//! On Burn's CPU backend in single precision each function takes a hand-written kernel with its own backward pass; on the GPU
//! backends normalization, rotation and the gated unit have kernels, in any float format, and the loss and attention within
//! documents go some rows at a time; everywhere else a function is its
//! [`mod@reference`], composed of Burn's tensor operations. Both give the same values up to rounding, and the tests
//! compare them. The features `flex` and `cube` compile the CPU's and the GPUs' kernels in.

mod adam;
mod attention;
#[cfg(any(feature = "cube", all(test, feature = "flex")))]
mod blocks;
#[cfg(feature = "cube")]
mod cube;
mod embedding;
#[cfg(feature = "flex")]
mod flex;
mod interpolate;
mod linear;
mod linear_cross_entropy;
mod linear_log_likelihood;
mod normalize;
mod normalized_swiglu;
mod precision;
pub mod profile;
#[cfg(any(feature = "flex", feature = "cube"))]
mod recompute;
mod rotary;
mod route;
mod square_sum;
mod swiglu;
mod threads;

pub use adam::{AdamStep, Bound, Slices, adam};
pub use attention::causal_attention;
pub use embedding::embedding;
pub use interpolate::interpolate;
pub use linear::linear;
pub use linear_cross_entropy::linear_cross_entropy;
pub use linear_log_likelihood::linear_log_likelihood;
pub use normalize::{Size, normalize};
pub use normalized_swiglu::{Normalization, normalized_swiglu};
pub use precision::Precision;
pub use rotary::rotary;
pub use route::{has_cpu_kernels, use_references};
pub use square_sum::square_sum;
pub use swiglu::swiglu;
pub use threads::work_along;

/// Each operation composed of plain Burn operations: what it means, on every device and in every number format.
pub mod reference {
    pub use crate::adam::reference as adam;
    pub use crate::attention::reference as causal_attention;
    pub use crate::embedding::reference as embedding;
    pub use crate::interpolate::reference as interpolate;
    pub use crate::linear::reference as linear;
    pub use crate::linear_cross_entropy::reference as linear_cross_entropy;
    pub use crate::linear_log_likelihood::reference as linear_log_likelihood;
    pub use crate::normalize::reference as normalize;
    pub use crate::normalized_swiglu::reference as normalized_swiglu;
    pub use crate::rotary::reference as rotary;
    pub use crate::square_sum::reference as square_sum;
    pub use crate::swiglu::reference as swiglu;
}

#[cfg(test)]
mod check;
