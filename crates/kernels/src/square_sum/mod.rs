//! The sum of all squares.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use burn::tensor::{DType, FloatDType, Tensor};

/// The sum of the squares of all entries, `[1]`, in an order that doesn't depend on threads.
///
/// Numbers narrower than `f32` are widened to it. Not differentiable on every device: a measurement.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &Device::flex());
/// assert!((evenburn_kernels::square_sum(x).into_scalar::<f32>() - 30.0).abs() < 1e-6);
/// ```
pub fn square_sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if crate::route::is_plain(&x) && crate::route::on_flex(&x) {
        return flex::dispatch(x);
    }
    reference(x)
}

/// [`square_sum`] composed of plain tensor operations: axis by axis, because a sum of everything at once may run in an order that
/// depends on the threads (Flex does so from 4M entries on).
pub fn reference<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    // Narrow floats have too few digits for a sum of many squares.
    let x = match x.dtype() {
        DType::F64 | DType::F32 => x,
        _ => x.cast(FloatDType::F32),
    };
    (0..D).rev().fold(x.square(), Tensor::sum_dim).reshape([1])
}
