//! The gated activation of a feed-forward network.
//!
//! `F` hidden width.

#[cfg(feature = "cube")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;

/// SwiGLU between its projections: `y = after * up * silu(before * gate)`, `silu(z) = z / (1 + e^-z)`.
///
/// `gate` and `up` are `[.., F]`, and so is the result. Source: Shazeer, *GLU Variants Improve Transformer* (2020),
/// section 2, with a scale on either side.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let gate = Tensor::<1>::from_floats([0.0, 20.0], &device);
/// let up = Tensor::<1>::from_floats([5.0, 3.0], &device);
/// let y = evenburn_kernels::swiglu(gate, up, 1.0, 0.5);
/// let y = y.into_data().try_to_vec::<f32>().map_err(|e| format!("{e:?}"))?;
/// assert!(y[0].abs() < 1e-6 && (y[1] - 30.0).abs() < 1e-4);
/// # Ok::<(), String>(())
/// ```
///
/// # Panics
///
/// As Burn's product of two tensors does, where the shapes don't fit.
pub fn swiglu<const D: usize>(
    gate: Tensor<D>,
    up: Tensor<D>,
    before: f64,
    after: f64,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        if is_plain(&gate) && is_plain(&up) && gate.shape() == up.shape() && on_flex(&gate) {
            return flex::dispatch(gate, up, before, after);
        }
    }
    #[cfg(feature = "cube")]
    if gate.shape() == up.shape() && gate.dtype() == up.dtype() && crate::route::on_cube(&gate) {
        return cube::dispatch(gate, up, before, after);
    }
    reference(gate, up, before, after)
}

/// [`swiglu`] composed of plain tensor operations.
pub fn reference<const D: usize>(
    gate: Tensor<D>,
    up: Tensor<D>,
    before: f64,
    after: f64,
) -> Tensor<D> {
    let y = up * burn::tensor::activation::silu(gate.mul_scalar(before));
    y.mul_scalar(after)
}
