//! Both passes of causal attention on slices.
//!
//! `B` batch, `T` time, `H` query heads, `G` key/value heads, `K` head width.
//!
//! One task is one key/value head of one sequence, with all query heads that share it; it goes through the queries
//! in blocks and sees all visible keys of a block at once, so whole rows of scores are there and the softmax needs no
//! rescaling. A block's keys run from the first that one of its queries sees to its last query: keys of documents that
//! have ended cost nothing. Heads are read and written where they lie in the rows of `[B, T, H K]`.

use crate::flex::matrix::{Into, Matrix, MatrixMut, product, turn};
use crate::flex::simd::{dot, exp, exp_and_sum, largest, simd};
use crate::flex::{buffer, with_scratch};
use rayon::prelude::*;
use std::ops::Range;

/// Queries per block. Smaller blocks waste less above the diagonal, larger ones multiply faster; of 64 and 128 the smaller is
/// as fast or faster up to 4,096 tokens (docs/log.md, "Attention with keys turned once").
const BLOCK: usize = 64;

/// The arguments of an attention and their dimensions.
#[derive(Clone, Copy)]
pub(super) struct Problem<'a> {
    /// `[B, T, H K]`
    pub(super) q: &'a [f32],
    /// `[B, T, G K]`
    pub(super) k: &'a [f32],
    /// `[B, T, G K]`
    pub(super) v: &'a [f32],
    /// The first key that each query sees, its own at most, `[B, T]`.
    pub(super) starts: &'a [usize],
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

    /// The queries of sequence `b` in blocks.
    fn blocks(self, b: usize) -> impl Iterator<Item = Block<'a>> {
        let starts = self.starts[b * self.time..][..self.time].chunks(BLOCK);
        starts.enumerate().map(|(i, starts)| Block {
            query: i * BLOCK,
            key: starts.iter().copied().min().unwrap_or(i * BLOCK),
            starts,
        })
    }
}

/// Some queries that are computed together, and the keys that they see.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// The first query.
    query: usize,
    /// The first key.
    key: usize,
    /// The first key that each query sees.
    starts: &'a [usize],
}

impl Block<'_> {
    fn queries(self) -> usize {
        self.starts.len()
    }

    /// All keys that some query of the block sees: its own are among them.
    fn keys(self) -> usize {
        self.query + self.queries() - self.key
    }

    /// Where the query in row `row` sees something, within the block's keys.
    fn visible(self, row: usize) -> Range<usize> {
        self.starts[row] - self.key..self.query + row + 1 - self.key
    }

    /// The block's rows of a matrix with a row per query.
    fn of_queries(self, x: Matrix) -> Matrix {
        x.block([self.query, 0], [self.queries(), x.columns()])
    }

    /// The block's rows of a matrix with a row per key.
    fn of_keys(self, x: Matrix) -> Matrix {
        x.block([self.key, 0], [self.keys(), x.columns()])
    }

    /// The block's columns of a matrix with a column per key.
    fn across_keys(self, x: Matrix) -> Matrix {
        x.block([0, self.key], [x.rows(), self.keys()])
    }
}

/// A row without what lies outside of `visible`, which becomes zero.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a part of functions with vector instructions"
)]
fn only(row: &mut [f32], visible: Range<usize>) -> &mut [f32] {
    row[..visible.start].fill(0.0);
    row[visible.end..].fill(0.0);
    &mut row[visible]
}

/// What makes a row of scores a row of probabilities.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Softmax {
    /// The largest score: exponentials are taken of what is left below it.
    shift: f32,
    /// The reciprocal of their sum.
    factor: f32,
}

simd! {
    /// Turns each row of scores into unnormalized probabilities of the visible keys and zeros for the others.
    fn softmax_rows(scores: &mut [f32], block: Block, softmax: &mut [Softmax]) {
        for (i, (row, softmax)) in scores.chunks_exact_mut(block.keys()).zip(softmax).enumerate() {
            let visible = only(row, block.visible(i));
            let shift = largest(visible);
            let factor = 1.0 / exp_and_sum(visible, shift);
            *softmax = Softmax { shift, factor };
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
    /// Turns each row of scores into probabilities, as the forward pass did.
    fn probability_rows(scores: &mut [f32], block: Block, softmax: &[Softmax]) {
        for (i, (row, softmax)) in scores.chunks_exact_mut(block.keys()).zip(softmax).enumerate() {
            for x in only(row, block.visible(i)) {
                *x = exp(*x - softmax.shift) * softmax.factor;
            }
        }
    }
}

simd! {
    /// The gradient of the scores from that of the probabilities: `ds = p (dp - p . dp)`.
    ///
    /// `p . dp` is `y . dy` too, but only this sum cancels without a rest where one key has all the weight. Where it has
    /// nearly all, the share of the others is lost in the first sum and found in the second.
    fn score_gradient_rows(probabilities: &[f32], gradients: &mut [f32], block: Block) {
        let rows = gradients.chunks_exact_mut(block.keys()).zip(probabilities.chunks_exact(block.keys()));
        for (i, (row, p)) in rows.enumerate() {
            let p = &p[block.visible(i)];
            let row = only(row, block.visible(i));
            let mean = dot(p, row);
            for x in row.iter_mut() {
                *x -= mean;
            }
            let rest = dot(p, row);
            for (x, p) in row.iter_mut().zip(p) {
                *x = p * (*x - rest);
            }
        }
    }
}

/// `y [B, T, H K]`, and what each score row's softmax took, `[B, H, T]`.
pub(super) fn forward(p: Problem) -> (Vec<f32>, Vec<Softmax>) {
    let mut y = buffer(p.q.len());
    let mut softmax = vec![Softmax::default(); p.batch * p.heads * p.time];
    p.split(&mut y, p.heads)
        .into_par_iter()
        .with_max_len(1)
        .zip(softmax.par_chunks_mut(p.time))
        .enumerate()
        .for_each(|(i, (mut y, softmax))| {
            let (b, head) = (i / p.heads, i % p.heads);
            let q = p.head(p.q, p.heads, b, head);
            let k = p.head(p.k, p.kv_heads, b, head / p.shared());
            let v = p.head(p.v, p.kv_heads, b, head / p.shared());
            with_scratch((p.width + BLOCK) * p.time, |scratch| {
                let (turned, scratch) = scratch.split_at_mut(p.width * p.time);
                turn(k, turned);
                let k = Matrix::new(turned, p.time);
                for (block, softmax) in p.blocks(b).zip(softmax.chunks_mut(BLOCK)) {
                    let scores = &mut scratch[..block.queries() * block.keys()];
                    product(
                        &mut MatrixMut::new(scores, block.keys()),
                        Into::Replace,
                        p.scale,
                        block.of_queries(q),
                        block.across_keys(k),
                    );
                    softmax_rows(scores, block, softmax);
                    let mut y = y.rows(block.query, block.queries());
                    product(
                        &mut y,
                        Into::Replace,
                        1.0,
                        Matrix::new(scores, block.keys()),
                        block.of_keys(v),
                    );
                    for (row, softmax) in softmax.iter().enumerate() {
                        scale_row(y.row(row), softmax.factor);
                    }
                }
            });
        });
    (y, softmax)
}

/// The gradients of `q`, `k` and `v`.
pub(super) fn backward(p: Problem, softmax: &[Softmax], dy: &[f32]) -> [Vec<f32>; 3] {
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
            // Every block of every query head adds to them.
            dk.fill(0.0);
            dv.fill(0.0);
            let [k, v] = [p.k, p.v].map(|x| p.head(x, p.kv_heads, b, group));
            with_scratch(2 * (p.width + BLOCK) * p.time, |scratch| {
                let (turned, scratch) = scratch.split_at_mut(2 * p.width * p.time);
                let (k_turned, v_turned) = turned.split_at_mut(p.width * p.time);
                turn(k, k_turned);
                turn(v, v_turned);
                for (j, mut dq) in dq.into_iter().enumerate() {
                    let head = group * p.shared() + j;
                    let softmax = &softmax[(b * p.heads + head) * p.time..][..p.time];
                    let views = Views {
                        q: p.head(p.q, p.heads, b, head),
                        k,
                        k_turned: Matrix::new(k_turned, p.time),
                        v_turned: Matrix::new(v_turned, p.time),
                        dy: p.head(dy, p.heads, b, head),
                    };
                    for (block, softmax) in p.blocks(b).zip(softmax.chunks(BLOCK)) {
                        let gradients = [
                            dq.rows(block.query, block.queries()),
                            dk.rows(block.key, block.keys()),
                            dv.rows(block.key, block.keys()),
                        ];
                        backward_block(p, views, block, softmax, scratch, gradients);
                    }
                }
            });
        });
    [dq, dk, dv]
}

/// What the backward pass of one head reads, `[T, K]` each, or, where it is turned, `[K, T]`.
#[derive(Clone, Copy)]
struct Views<'a> {
    q: Matrix<'a>,
    k: Matrix<'a>,
    k_turned: Matrix<'a>,
    v_turned: Matrix<'a>,
    dy: Matrix<'a>,
}

/// Writes the gradient of the block's queries, and adds those of the keys and values that they see.
fn backward_block(
    p: Problem,
    views: Views,
    block: Block,
    softmax: &[Softmax],
    scratch: &mut [f32],
    [mut dq, mut dk, mut dv]: [MatrixMut; 3],
) {
    let [q, dy] = [views.q, views.dy].map(|x| block.of_queries(x));
    let [k_turned, v_turned] = [views.k_turned, views.v_turned].map(|x| block.across_keys(x));
    let (probabilities, gradients) = scratch.split_at_mut(BLOCK * p.time);
    let scores = block.queries() * block.keys();
    let (probabilities, gradients) = (&mut probabilities[..scores], &mut gradients[..scores]);
    product(
        &mut MatrixMut::new(probabilities, block.keys()),
        Into::Replace,
        p.scale,
        q,
        k_turned,
    );
    probability_rows(probabilities, block, softmax);
    product(
        &mut MatrixMut::new(gradients, block.keys()),
        Into::Replace,
        1.0,
        dy,
        v_turned,
    );
    score_gradient_rows(probabilities, gradients, block);
    let (probabilities, gradients) = (
        Matrix::new(probabilities, block.keys()),
        Matrix::new(gradients, block.keys()),
    );
    product(&mut dv, Into::Add, 1.0, probabilities.transposed(), dy);
    product(
        &mut dq,
        Into::Replace,
        p.scale,
        gradients,
        block.of_keys(views.k),
    );
    product(&mut dk, Into::Add, p.scale, gradients.transposed(), q);
}
