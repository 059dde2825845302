//! The product with a matrix of parameters.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use crate::Precision;
use burn::tensor::{FloatDType, Tensor};

/// Linear map: `y = factor x W` with `x [.., in]`, `weight [in, out]`, and `y [.., out]`; the gradients are `dx = factor dy W^T`,
/// `dW = factor x^T dy`. The factors of all three products are rounded to `precision`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
/// let weight = Tensor::<2>::from_floats([[3.0], [4.0]], &device);
/// let y = evenburn_kernels::linear(x, weight, 2.0, evenburn_kernels::Precision::F32);
/// assert!((y.into_scalar::<f32>() - 22.0).abs() < 1e-6);
/// ```
///
/// # Panics
///
/// As Burn's matrix product does, where the shapes don't fit.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    factor: f64,
    precision: Precision,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        let fits = x.dims()[D - 1] == weight.dims()[0];
        if fits && is_plain(&x) && is_plain(&weight) && on_flex(&x) {
            return flex::dispatch(x, weight, factor, precision);
        }
    }
    reference(x, weight, factor, precision)
}

/// [`linear`] composed of plain tensor operations.
pub fn reference<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    factor: f64,
    precision: Precision,
) -> Tensor<D> {
    let (mut shape, [input, output]) = (x.dims(), weight.dims());
    let rows = shape[..D - 1].iter().product();
    shape[D - 1] = output;
    // One product of two matrices: the batched form would multiply per sequence.
    let x: Tensor<2> = x.reshape([rows, input]);
    let y = match precision {
        Precision::F32 => x.matmul(scaled(weight, factor)),
        Precision::Bf16 => {
            let dtype: FloatDType = x.dtype().into();
            let [x, weight] = [x, weight].map(|x| x.cast(FloatDType::BF16));
            scaled(x.matmul(weight).cast(dtype), factor)
        }
    };
    y.reshape(shape)
}

/// `x * factor`, without a pass over `x` where the factor is 1.
#[allow(clippy::float_cmp)]
fn scaled(x: Tensor<2>, factor: f64) -> Tensor<2> {
    if factor == 1.0 {
        x
    } else {
        x.mul_scalar(factor)
    }
}
