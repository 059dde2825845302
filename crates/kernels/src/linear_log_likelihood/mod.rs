//! The output layer together with how likely it finds tokens.
//!
//! `N` rows, `D` model width, `V` vocabulary.

#[cfg(feature = "flex")]
pub(crate) mod flex;
#[cfg(test)]
mod tests;

use crate::Precision;
use burn::tensor::{Bool, DType, FloatDType, Int, Tensor};

/// Logits that the plain operations have in memory at once, at most: 64 MB in single precision.
const LOGITS: usize = 1 << 24;

/// The log-likelihood of each target by the logits `z = hidden weight`, in nats: `z_n,target(n) - log(sum_v exp(z_nv))`; and
/// whether the target's logit is the largest of its row, of equal ones the first.
///
/// `hidden` is `[N, D]`, `weight` `[D, V]`, `targets` `[N]`, the results are `[N]`, in single precision at least. The factors of the
/// product are rounded to `precision`. Some rows of logits are in memory at a time, never all. Not differentiable: a measurement.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use evenburn_kernels::{Precision, linear_log_likelihood};
/// let device = Device::flex();
/// let hidden = Tensor::<2>::from_floats([[1.0], [7.0]], &device);
/// let weight = Tensor::<2>::from_floats([[0.0, 0.0]], &device);
/// let targets = Tensor::<1, Int>::from_ints([1, 0], &device);
/// let (likelihood, is_largest) = linear_log_likelihood(hidden, weight, targets, Precision::F32);
/// // Two equal logits, of which the first counts as the largest.
/// assert!((likelihood.sum().into_scalar::<f32>() + 4.0f32.ln()).abs() < 1e-6);
/// assert_eq!(is_largest.into_data().iter::<bool>().collect::<Vec<_>>(), [false, true]);
/// ```
///
/// # Panics
///
/// If there are no rows, the shapes don't fit, or, on the CPU, a target is negative, or `V` or more.
pub fn linear_log_likelihood(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    precision: Precision,
) -> (Tensor<1>, Tensor<1, Bool>) {
    #[cfg(feature = "flex")]
    {
        use crate::route::{is_plain, on_flex};
        let ([n, d], [input, _], [m]) = (hidden.dims(), weight.dims(), targets.dims());
        let fits = n == m && d == input;
        if fits && is_plain(&hidden) && is_plain(&weight) && on_flex(&hidden) {
            return flex::dispatch(hidden, weight, targets, precision);
        }
    }
    reference(hidden, weight, targets, precision)
}

/// [`linear_log_likelihood`] composed of plain tensor operations.
#[allow(clippy::needless_pass_by_value)] // it takes what the fused operation takes
pub fn reference(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    precision: Precision,
) -> (Tensor<1>, Tensor<1, Bool>) {
    let ([n, _], [_, vocab]) = (hidden.dims(), weight.dims());
    let step = (LOGITS / vocab).max(1);
    let (mut likelihoods, mut largest) = (Vec::new(), Vec::new());
    for first in (0..n).step_by(step) {
        let rows = step.min(n - first);
        let hidden = hidden.clone().narrow(0, first, rows);
        let logits = crate::linear::reference(hidden, weight.clone(), 1.0, precision);
        let targets = targets.clone().narrow(0, first, rows).unsqueeze_dim(1);
        let (likelihood, is_largest) = scored(logits, targets);
        likelihoods.push(likelihood);
        largest.push(is_largest);
    }
    (Tensor::cat(likelihoods, 0), Tensor::cat(largest, 0))
}

/// Both, `[N]` each, of targets `[N, 1]` by logits `[N, V]`.
fn scored(logits: Tensor<2>, targets: Tensor<2, Int>) -> (Tensor<1>, Tensor<1, Bool>) {
    let logits = match logits.dtype() {
        DType::F16 | DType::BF16 => logits.cast(FloatDType::F32),
        _ => logits,
    };
    let [rows, vocab] = logits.dims();
    let largest = logits.clone().max_dim(1);
    let own = logits.clone().gather(1, targets.clone());
    let sum = (logits.clone() - largest.clone()).exp().sum_dim(1);
    let likelihood = own.clone() - largest.clone() - sum.log();
    let places = Tensor::<1, Int>::arange(0..vocab as i64, (&targets.device(), targets.dtype()));
    let shape = [rows, vocab];
    let earlier = places
        .unsqueeze::<2>()
        .expand(shape)
        .lower(targets.expand(shape));
    let equal = logits
        .equal(largest.clone().expand(shape))
        .bool_and(earlier);
    let is_largest = own.equal(largest).bool_and(equal.any_dim(1).bool_not());
    (likelihood.squeeze_dim(1), is_largest.squeeze_dim(1))
}
