//! Both passes of causal attention on slices.
//!
//! `B` batch, `T` time, `H` query heads, `G` key/value heads, `K` head width.
//!
//! One task is one key/value head of one sequence, with all query heads that share it; it goes through the queries
//! in blocks and sees all visible keys of a block at once, so whole rows of scores are there and the softmax needs no
//! rescaling. Heads are read and written where they lie in the rows of `[B, T, H K]`.

use crate::flex::matrix::{Into, Matrix, MatrixMut, product};
use crate::flex::simd::{dot, exp, exp_and_sum, largest, simd};
use crate::flex::{buffer, with_scratch};
use rayon::prelude::*;

/// Queries per block. Smaller blocks waste less above the diagonal, larger ones multiply faster.
const BLOCK: usize = 128;

/// The arguments of an attention and their dimensions.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    /// `[B, T, H K]`
    pub(super) q: &'a [f32],
    /// `[B, T, G K]`
    pub(super) k: &'a [f32],
    /// `[B, T, G K]`
    pub(super) v: &'a [f32],
    pub(super) batch: usize,
    pub(super) time: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    /// `K`
    pub(super) width: usize,
    pub(super) scale: f32,
}

impl<'a> Problem<'a> {
    /// Query heads per key/value head.
    fn shared(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Head `head` of `heads` in sequence `b` of `x`, `[T, K]`.
    fn head(self, x: &'a [f32], heads: usize, b: usize, head: usize) -> Matrix<'a> {
        let shape = [self.time, self.width];
        Matrix::new(x, heads * self.width).block([b * self.time, head * self.width], shape)
    }

    /// One `[T, K]` view per head of `x`, sequence by sequence.
    fn split(self, x: &mut [f32], heads: usize) -> Vec<MatrixMut<'_>> {
        MatrixMut::new(x, heads * self.width).tiles([self.time, self.width])
    }

    /// First query and number of queries of each block.
    fn blocks(self) -> impl DoubleEndedIterator<Item = (usize, usize)> {
        let time = self.time;
        let blocks = time.div_ceil(BLOCK);
        (0..blocks).map(move |i| (i * BLOCK, BLOCK.min(time - i * BLOCK)))
    }
}

simd! {
    /// Turns each row of scores into unnormalized probabilities of the `first + row + 1` visible keys and zeros for the
    /// others; writes the logarithm and the reciprocal of the row's sum.
    fn softmax_rows(scores: &mut [f32], first: usize, log_sums: &mut [f32], factors: &mut [f32]) {
        let keys = first + log_sums.len();
        let results = log_sums.iter_mut().zip(factors);
        for (i, (row, (log_sum, factor))) in scores.chunks_exact_mut(keys).zip(results).enumerate() {
            let (visible, hidden) = row.split_at_mut(first + i + 1);
            let shift = largest(visible);
            let sum = exp_and_sum(visible, shift);
            hidden.fill(0.0);
            *log_sum = shift + sum.ln();
            *factor = 1.0 / sum;
        }
    }
}

simd! {
    fn scale_row(row: &mut [f32], factor: f32) {
        for x in row {
            *x *= factor;
        }
    }
}

simd! {
    /// Turns each row of scores into probabilities, with the row sums of the way forth.
    fn probability_rows(scores: &mut [f32], first: usize, log_sums: &[f32]) {
        let keys = first + log_sums.len();
        for (i, (row, log_sum)) in scores.chunks_exact_mut(keys).zip(log_sums).enumerate() {
            let (visible, hidden) = row.split_at_mut(first + i + 1);
            for x in visible {
                *x = exp(*x - log_sum);
            }
            hidden.fill(0.0);
        }
    }
}

simd! {
    /// The gradient of the scores from that of the probabilities: `ds = p (dp - y . dy)`.
    fn score_gradient_rows(probabilities: &[f32], gradients: &mut [f32], first: usize, means: &[f32]) {
        let keys = first + means.len();
        let rows = gradients.chunks_exact_mut(keys).zip(probabilities.chunks_exact(keys));
        for (i, ((row, p), mean)) in rows.zip(means).enumerate() {
            let (visible, hidden) = row.split_at_mut(first + i + 1);
            for (x, p) in visible.iter_mut().zip(p) {
                *x = p * (*x - mean);
            }
            hidden.fill(0.0);
        }
    }
}

simd! {
    fn dot_rows(a: &[f32], b: &[f32]) -> f32 {
        dot(a, b)
    }
}

/// `y [B, T, H K]`, and the logarithm of each score row's sum of exponentials, `[B, H, T]`.
pub(super) fn forward(p: Problem) -> (Vec<f32>, Vec<f32>) {
    let mut y = buffer(p.q.len());
    let mut log_sums = buffer(p.batch * p.heads * p.time);
    p.split(&mut y, p.heads)
        .into_par_iter()
        .with_max_len(1)
        .zip(log_sums.par_chunks_mut(p.time))
        .enumerate()
        .for_each(|(i, (mut y, log_sums))| {
            let (b, head) = (i / p.heads, i % p.heads);
            let q = p.head(p.q, p.heads, b, head);
            let k = p.head(p.k, p.kv_heads, b, head / p.shared());
            let v = p.head(p.v, p.kv_heads, b, head / p.shared());
            with_scratch(BLOCK * p.time, |scratch| {
                let mut factors = [0.0; BLOCK];
                for (first, rows) in p.blocks() {
                    let keys = first + rows;
                    let visible = [keys, p.width];
                    let scores = &mut scratch[..rows * keys];
                    product(
                        &mut MatrixMut::new(scores, keys),
                        Into::Replace,
                        p.scale,
                        q.block([first, 0], [rows, p.width]),
                        k.block([0, 0], visible).transposed(),
                    );
                    softmax_rows(scores, first, &mut log_sums[first..keys], &mut factors);
                    let mut y = y.rows(first, rows);
                    product(
                        &mut y,
                        Into::Replace,
                        1.0,
                        Matrix::new(scores, keys),
                        v.block([0, 0], visible),
                    );
                    for (row, &factor) in factors[..rows].iter().enumerate() {
                        scale_row(y.row(row), factor);
                    }
                }
            });
        });
    (y, log_sums)
}

/// The gradients of `q`, `k` and `v`.
pub(super) fn backward(p: Problem, y: &[f32], log_sums: &[f32], dy: &[f32]) -> [Vec<f32>; 3] {
    let mut dq = buffer(p.q.len());
    let (mut dk, mut dv) = (buffer(p.k.len()), buffer(p.v.len()));
    // The query heads of one key/value head are neighbours.
    let mut queries = p.split(&mut dq, p.heads).into_iter();
    let tasks: Vec<_> = p
        .split(&mut dk, p.kv_heads)
        .into_iter()
        .zip(p.split(&mut dv, p.kv_heads))
        .map(|(dk, dv)| {
            let dq: Vec<_> = queries.by_ref().take(p.shared()).collect();
            (dq, dk, dv)
        })
        .collect();
    tasks
        .into_par_iter()
        .with_max_len(1)
        .enumerate()
        .for_each(|(i, (dq, mut dk, mut dv))| {
            let (b, group) = (i / p.kv_heads, i % p.kv_heads);
            // The first block that is computed is the last one, which sees every key: it writes what the others add to.
            let mut into = Into::Replace;
            for (j, mut dq) in dq.into_iter().enumerate() {
                let head = group * p.shared() + j;
                let log_sums = &log_sums[(b * p.heads + head) * p.time..][..p.time];
                let views = Views {
                    q: p.head(p.q, p.heads, b, head),
                    k: p.head(p.k, p.kv_heads, b, group),
                    v: p.head(p.v, p.kv_heads, b, group),
                    y: p.head(y, p.heads, b, head),
                    dy: p.head(dy, p.heads, b, head),
                };
                with_scratch(2 * BLOCK * p.time, |scratch| {
                    for (first, rows) in p.blocks().rev() {
                        let keys = first + rows;
                        let log_sums = &log_sums[first..keys];
                        let gradients = [dq.rows(first, rows), dk.rows(0, keys), dv.rows(0, keys)];
                        backward_block(p, views, first, log_sums, scratch, gradients, into);
                        into = Into::Add;
                    }
                });
            }
        });
    [dq, dk, dv]
}

/// What the way back of one head reads, `[T, K]` each.
#[derive(Clone, Copy)]
struct Views<'a> {
    q: Matrix<'a>,
    k: Matrix<'a>,
    v: Matrix<'a>,
    y: Matrix<'a>,
    dy: Matrix<'a>,
}

/// The queries from `first` on, as many as `log_sums`.
fn backward_block(
    p: Problem,
    views: Views,
    first: usize,
    log_sums: &[f32],
    scratch: &mut [f32],
    [mut dq, mut dk, mut dv]: [MatrixMut; 3],
    into: Into,
) {
    let (rows, keys) = (log_sums.len(), first + log_sums.len());
    let (queries, visible) = ([rows, p.width], [keys, p.width]);
    let q = views.q.block([first, 0], queries);
    let y = views.y.block([first, 0], queries);
    let dy = views.dy.block([first, 0], queries);
    let k = views.k.block([0, 0], visible);
    let v = views.v.block([0, 0], visible);
    let (probabilities, gradients) = scratch.split_at_mut(BLOCK * p.time);
    let (probabilities, gradients) = (
        &mut probabilities[..rows * keys],
        &mut gradients[..rows * keys],
    );
    let mut means = [0.0; BLOCK];
    for (row, mean) in means[..rows].iter_mut().enumerate() {
        *mean = dot_rows(y.row(row), dy.row(row));
    }
    product(
        &mut MatrixMut::new(probabilities, keys),
        Into::Replace,
        p.scale,
        q,
        k.transposed(),
    );
    probability_rows(probabilities, first, log_sums);
    product(
        &mut MatrixMut::new(gradients, keys),
        Into::Replace,
        1.0,
        dy,
        v.transposed(),
    );
    score_gradient_rows(probabilities, gradients, first, &means[..rows]);
    let (probabilities, gradients) = (
        Matrix::new(probabilities, keys),
        Matrix::new(gradients, keys),
    );
    product(&mut dv, into, 1.0, probabilities.transposed(), dy);
    product(&mut dq, Into::Replace, p.scale, gradients, k);
    product(&mut dk, into, p.scale, gradients.transposed(), q);
}
