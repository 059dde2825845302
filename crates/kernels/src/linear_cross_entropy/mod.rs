//! The output layer together with the loss on it.
//!
//! `N` rows, `D` model width, `V` vocabulary.

#[cfg(any(feature = "cube", all(test, feature = "flex")))]
pub(crate) mod blocks;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use crate::Precision;
use burn::tensor::{DType, FloatDType, Int, Tensor};

/// Summed cross-entropy, in nats, of the logits `hidden weight` against `targets`:
/// `sum_n ( log(sum_v exp(z_nv)) - z_n,target(n) )`, `z = hidden weight`, over the rows whose target is not negative.
///
/// `hidden` is `[N, D]`, `weight` `[D, V]`, `targets` `[N]`; the result is `[1]`, in single precision at least. The factors
/// of the product, and of those of its gradients, are rounded to `precision`. The kernels of the CPU and of the GPUs never
/// hold the `N x V` logits: they take some rows at a time and compute both gradients along with the loss when one is wanted.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// let device = Device::flex();
/// let hidden = Tensor::<2>::from_floats([[1.0], [7.0]], &device);
/// let weight = Tensor::<2>::from_floats([[0.0, 0.0]], &device);
/// let targets = Tensor::<1, Int>::from_ints([1, -1], &device);
/// let loss = evenburn_kernels::linear_cross_entropy(
///     hidden,
///     weight,
///     targets,
///     evenburn_kernels::Precision::F32,
/// );
/// let loss = loss.into_scalar::<f32>();
/// // Two equal logits, and the second row doesn't count.
/// assert!((loss - 2.0f32.ln()).abs() < 1e-6);
/// ```
///
/// # Panics
///
/// If the shapes don't fit, or a target is `V` or more; the GPUs' kernel doesn't notice the latter and gives a wrong
/// loss.
pub fn linear_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    precision: Precision,
) -> Tensor<1> {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        let ([n, d], [input, _], [m]) = (hidden.dims(), weight.dims(), targets.dims());
        let fits = n == m && d == input;
        if fits && is_plain(&hidden) && is_plain(&weight) && on_flex(&hidden) {
            return flex::dispatch(hidden, weight, targets, precision);
        }
    }
    #[cfg(feature = "cube")]
    if hidden.dtype() == weight.dtype() && crate::route::on_cube(&hidden) {
        let [hidden, weight] = [hidden, weight].map(|x| rounded(x, precision));
        return cube::dispatch(hidden, weight, targets);
    }
    reference(hidden, weight, targets, precision)
}

/// [`linear_cross_entropy`] composed of plain tensor operations, with all logits at once.
pub fn reference(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    precision: Precision,
) -> Tensor<1> {
    let dtype = match hidden.dtype() {
        // A sum over a batch is more than half precision can hold.
        DType::F16 | DType::BF16 => FloatDType::F32,
        other => other.into(),
    };
    // Logits keep their precision: rounded, one of 20 would be off by 0.03, and its probability by 3 %.
    let [hidden, weight] = [hidden, weight].map(|x| rounded(x, precision).cast(dtype));
    let logits = hidden.matmul(weight);
    let counted = targets.clone().greater_equal_elem(0);
    let index: Tensor<2, Int> = targets.clamp_min(0).unsqueeze_dim(1);
    // The maximum only keeps the exponential finite: its gradient cancels.
    let largest = logits.clone().detach().max_dim(1);
    let shifted = logits - largest;
    let target = shifted.clone().gather(1, index);
    let loss: Tensor<2> = shifted.exp().sum_dim(1).log() - target;
    let loss: Tensor<1> = loss.squeeze_dim(1);
    loss.mask_fill(counted.bool_not(), 0.0).sum()
}

fn rounded(x: Tensor<2>, precision: Precision) -> Tensor<2> {
    match precision {
        Precision::F32 => x,
        Precision::Bf16 => x.cast(FloatDType::BF16),
    }
}
