//! The interpolation of a residual stream and a branch's output.
//!
//! `D` channels.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;

/// Interpolation of a stream and a branch's output: `y = keep * h + step * x`, channel by channel; `h` and `x` are `[.., D]`, `keep` and `step` `[D]`.
///
/// With `keep = 1 - step` this is an interpolation; source: Loshchilov et al., *nGPT* (2024), eq. 7 and 8.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let one = |x: f32| Tensor::<1>::from_floats([x], &device);
/// let y = evenburn_kernels::interpolate(one(2.0), one(10.0), one(0.75), one(0.25));
/// assert!((y.into_scalar::<f32>() - 4.0).abs() < 1e-6);
/// ```
///
/// # Panics
///
/// As Burn's broadcasting operations do, where the shapes don't fit.
pub fn interpolate<const D: usize>(
    h: Tensor<D>,
    x: Tensor<D>,
    keep: Tensor<1>,
    step: Tensor<1>,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        let width = [h.dims()[D - 1]];
        let fits = h.shape() == x.shape() && keep.dims() == width && step.dims() == width;
        let plain = is_plain(&h) && is_plain(&x) && is_plain(&keep) && is_plain(&step);
        if fits && plain && on_flex(&h) {
            return flex::dispatch(h, x, keep, step);
        }
    }
    reference(h, x, keep, step)
}

/// [`interpolate`] composed of plain tensor operations.
pub fn reference<const D: usize>(
    h: Tensor<D>,
    x: Tensor<D>,
    keep: Tensor<1>,
    step: Tensor<1>,
) -> Tensor<D> {
    h * keep.unsqueeze() + x * step.unsqueeze()
}
