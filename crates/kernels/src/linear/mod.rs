//! The product with a matrix of parameters.
//!
//! `N` rows.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;

/// `y = x W` with `x [N, in]`, `weight [in, out]`, and `y [N, out]`; the gradients are `dx = dy W^T`, `dW = x^T dy`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// let weight = Tensor::<2>::from_floats([[3.0], [4.0]], &device);
/// let y = evenburn_kernels::linear(x, weight);
/// assert!((y.into_scalar::<f32>() - 11.0).abs() < 1e-6);
/// ```
///
/// # Panics
///
/// As Burn's matrix product does, where the shapes don't fit.
pub fn linear(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        let fits = x.dims()[1] == weight.dims()[0];
        if fits && is_plain(&x) && is_plain(&weight) && on_flex(&x) {
            return flex::dispatch(x, weight);
        }
    }
    reference(x, weight)
}

/// [`linear`] of plain tensor operations.
pub fn reference(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    x.matmul(weight)
}
