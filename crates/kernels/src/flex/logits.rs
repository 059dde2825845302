//! The product of the output layer, some rows of logits at a time.

use std::ops::Range;

use super::buffer;
use super::matrix::{Into, Matrix, MatrixMut, product_parallel};
use super::weight::Weight;
use crate::Precision;

/// Logits that are in memory at once, at most, 64 MB; and rows, beyond which products gain nothing.
const LOGITS: usize = 1 << 24;
const ROWS: usize = 512;

/// Gives `each` the logits of some rows after those of others, in order, so that they stay in a cache: the numbers of the rows, their
/// hidden states, and their logits, one row of `V` after another, which it may write over.
///
/// `hidden` is `[N, D]`, with at least one row, and `weight` `[D, V]`, prepared for a forward pass.
pub(crate) fn for_chunks_of_logits(
    hidden: Matrix<'_>,
    weight: &Weight,
    precision: Precision,
    mut each: impl FnMut(Range<usize>, Matrix<'_>, &mut [f32]),
) {
    let (n, [d, v]) = (hidden.rows(), weight.shape());
    let chunk = (LOGITS / v).clamp(1, ROWS).min(n);
    let mut logits = buffer(chunk * v);
    for first in (0..n).step_by(chunk) {
        let rows = chunk.min(n - first);
        let (h, logits) = (hidden.block([first, 0], [rows, d]), &mut logits[..rows * v]);
        let factors = [h, weight.forward()];
        product_parallel(
            MatrixMut::new(logits, v),
            Into::Replace,
            1.0,
            factors,
            precision,
        );
        each(first..first + rows, h, logits);
    }
}
