//! Some rows of logits at a time.

use crate::Precision;
use crate::flex::extension::Fused;
use crate::flex::logits::for_chunks_of_logits;
use crate::flex::matrix::Matrix;
use crate::flex::simd::{exp_and_sum, largest, simd};
use crate::flex::weight::Weight;
use crate::flex::{assert_ids, contiguous, integers, tensor, values};
use crate::profile::{Pass, Work, span};
use burn::backend::Dispatch;
use burn::tensor::{Bool, Int, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    precision: Precision,
) -> (Tensor<1>, Tensor<1, Bool>) {
    let both = Tensor::<2>::from_dispatch(Dispatch::fused_linear_log_likelihood(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets.into_dispatch(),
        precision,
    ));
    let [likelihood, is_largest] = [0, 1].map(|row| both.clone().narrow(0, row, 1).squeeze_dim(0));
    (likelihood, is_largest.greater_elem(0.5))
}

simd! {
    /// The log-likelihood of the target, and 1 where its logit is the first of the largest, else 0.
    fn row_score(row: &mut [f32], target: usize) -> (f32, f32) {
        let shift = largest(row);
        let own = row[target];
        let is_largest = own >= shift && !row[..target].contains(&shift);
        let sum = exp_and_sum(row, shift);
        (own - shift - sum.ln(), if is_largest { 1.0 } else { 0.0 })
    }
}

/// Log-likelihoods and flags, `[2, N]`.
pub(crate) fn forward(
    hidden: FlexTensor,
    weight: FlexTensor,
    targets: FlexTensor,
    precision: Precision,
) -> FlexTensor {
    let hidden = contiguous(hidden);
    let mut weight = Weight::new(weight);
    let targets = integers(targets);
    let (n, [d, v]) = (targets.len(), weight.shape());
    assert_ids("target", &targets, v, 0);
    let _span = span(|| Work {
        operation: "linear_log_likelihood",
        pass: Pass::Forward,
        shape: vec![n, d, v],
        multiplications: n * d * v,
        // The logits stay in a cache, chunk by chunk.
        numbers: n * d + d * v,
    });
    weight.prepare_forward(n);
    let mut scores = Vec::with_capacity(n);
    let h = Matrix::new(values(&hidden), d);
    for_chunks_of_logits(h, &weight, precision, |rows, _, logits| {
        let of_rows = logits.par_chunks_mut(v).zip(&targets[rows]);
        scores.par_extend(of_rows.map(|(row, target)| row_score(row, *target as usize)));
    });
    let likelihoods = scores.iter().map(|(likelihood, _)| *likelihood);
    let flags = scores.iter().map(|(_, is_largest)| *is_largest);
    tensor(likelihoods.chain(flags).collect(), [2, n])
}
