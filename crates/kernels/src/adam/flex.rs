//! Adam in one pass over memory: a slice is projected while it is still in a cache.

use super::{AdamStep, Bound, Slices};
use crate::flex::extension::Fused;
use crate::flex::simd::{dot, simd};
use crate::flex::{
    PIECE, contiguous, owned, owned_values, rows_per_piece, shape, sum_parts, values,
};
use crate::profile::{Pass, Work, span};
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Dispatch, Flex};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch(
    w: Tensor<3>,
    grad: Tensor<3>,
    m: Tensor<3>,
    v: Tensor<3>,
    step: AdamStep,
) -> [Tensor<3>; 3] {
    let (w, m, v) = Dispatch::fused_adam(
        w.into_dispatch(),
        grad.into_dispatch(),
        m.into_dispatch(),
        v.into_dispatch(),
        step,
    );
    [w, m, v].map(Tensor::from_dispatch)
}

/// The hyperparameters of a step as the loops want them.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    beta1: f32,
    fresh1: f32,
    beta2: f32,
    fresh2: f32,
    keep: f32,
    scale: f32,
    eps: f32,
}

impl Numbers {
    fn new(step: &AdamStep) -> Self {
        let (scale, eps) = step.corrected();
        let numbers = [
            step.beta1,
            (1.0 - step.beta1) * step.grad_scale,
            step.beta2,
            (1.0 - step.beta2) * step.grad_scale * step.grad_scale,
            step.keep,
            scale,
            eps,
        ];
        let [beta1, fresh1, beta2, fresh2, keep, scale, eps] = numbers.map(|n| n as f32);
        Self {
            beta1,
            fresh1,
            beta2,
            fresh2,
            keep,
            scale,
            eps,
        }
    }
}

simd! {
    fn step_entries(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], n: Numbers) {
        for ((w, g), (m, v)) in w.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
            *m = n.beta1 * *m + n.fresh1 * g;
            *v = n.beta2 * *v + n.fresh2 * (g * g);
            *w = n.keep * *w - n.scale * (*m / (v.sqrt() + n.eps));
        }
    }
}

simd! {
    /// The same for rows as long as `sums`, with the squares of the new weights added to them.
    fn step_and_sum(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], sums: &mut [f32], n: Numbers) {
        let columns = sums.len();
        let rows = w.chunks_exact_mut(columns).zip(g.chunks_exact(columns));
        let means = m.chunks_exact_mut(columns).zip(v.chunks_exact_mut(columns));
        for ((w, g), (m, v)) in rows.zip(means) {
            for i in 0..columns {
                m[i] = n.beta1 * m[i] + n.fresh1 * g[i];
                v[i] = n.beta2 * v[i] + n.fresh2 * (g[i] * g[i]);
                w[i] = n.keep * w[i] - n.scale * (m[i] / (v[i].sqrt() + n.eps));
                sums[i] += w[i] * w[i];
            }
        }
    }
}

simd! {
    fn square_of(x: &[f32]) -> f32 {
        dot(x, x)
    }
}

simd! {
    fn multiply(x: &mut [f32], factors: &[f32]) {
        for (x, factor) in x.iter_mut().zip(factors) {
            *x *= factor;
        }
    }
}

/// What a slice is multiplied by.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "a part of functions with vector instructions"
)]
fn factor_of(square: f32, bound: Bound) -> f32 {
    let norm = square.sqrt();
    match bound {
        Bound::Free => 1.0,
        // In this order NaN stays, `f32::min` would swallow it.
        Bound::Ball(_, radius) if norm <= radius as f32 => 1.0,
        Bound::Ball(_, radius) => radius as f32 / norm,
        Bound::Sphere(_) if norm == 0.0 => 1.0,
        Bound::Sphere(_) => norm.recip(),
    }
}

simd! {
    fn factors_of(squares: &mut [f32], bound: Bound) {
        for square in squares {
            *square = factor_of(*square, bound);
        }
    }
}

/// Parts that a matrix is cut into, row by row: each has sums of its own for all columns.
const PARTS: usize = 4;

fn by_entries(w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], n: Numbers) {
    w.par_chunks_mut(PIECE)
        .zip(g.par_chunks(PIECE))
        .zip(m.par_chunks_mut(PIECE).zip(v.par_chunks_mut(PIECE)))
        .for_each(|((w, g), (m, v))| step_entries(w, g, m, v, n));
}

#[allow(clippy::float_cmp)]
fn by_rows([w, m, v]: [&mut [f32]; 3], g: &[f32], columns: usize, n: Numbers, bound: Bound) {
    let piece = rows_per_piece(columns) * columns;
    w.par_chunks_mut(piece)
        .zip(g.par_chunks(piece))
        .zip(m.par_chunks_mut(piece).zip(v.par_chunks_mut(piece)))
        .for_each(|((w, g), (m, v))| {
            let rows = w.chunks_exact_mut(columns).zip(g.chunks_exact(columns));
            let means = m.chunks_exact_mut(columns).zip(v.chunks_exact_mut(columns));
            for ((w, g), (m, v)) in rows.zip(means) {
                step_entries(w, g, m, v, n);
                let factor = factor_of(square_of(w), bound);
                if factor != 1.0 {
                    for x in w {
                        *x *= factor;
                    }
                }
            }
        });
}

/// One matrix. Its weights are read again for the projection, and only where a column is to change.
#[allow(clippy::float_cmp)]
fn by_columns([w, m, v]: [&mut [f32]; 3], g: &[f32], columns: usize, n: Numbers, bound: Bound) {
    let part = (w.len() / columns).div_ceil(PARTS) * columns;
    let mut sums = vec![0.0; w.len().div_ceil(part) * columns];
    w.par_chunks_mut(part)
        .zip(g.par_chunks(part))
        .zip(m.par_chunks_mut(part).zip(v.par_chunks_mut(part)))
        .zip(sums.par_chunks_mut(columns))
        .for_each(|(((w, g), (m, v)), sums)| step_and_sum(w, g, m, v, sums, n));
    let mut factors = sum_parts(&sums, columns);
    factors_of(&mut factors, bound);
    if factors.iter().any(|factor| *factor != 1.0) {
        w.par_chunks_mut(part).for_each(|w| {
            for row in w.chunks_exact_mut(columns) {
                multiply(row, &factors);
            }
        });
    }
}

pub(crate) fn forward(
    w: FlexTensor,
    grad: FlexTensor,
    m: FlexTensor,
    v: FlexTensor,
    step: AdamStep,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let grad = contiguous(grad);
    let [mut w, mut m, mut v] = [w, m, v].map(owned);
    let (columns, rows) = {
        let shape = shape(&w);
        (shape[2], shape[1])
    };
    let _span = span(|| Work {
        operation: "adam",
        pass: Pass::Update,
        shape: shape(&w).to_vec(),
        multiplications: 0,
        // Four to read and three to write.
        numbers: 7 * shape(&w).num_elements(),
    });
    let n = Numbers::new(&step);
    let entries = [&mut w, &mut m, &mut v].map(|x| owned_values(x));
    if let [Some(w), Some(m), Some(v)] = entries {
        let g = values(&grad);
        match step.bound {
            Bound::Free => by_entries(w, g, m, v, n),
            Bound::Ball(Slices::Rows, _) | Bound::Sphere(Slices::Rows) => {
                by_rows([w, m, v], g, columns, n, step.bound);
            }
            Bound::Ball(Slices::Columns, _) | Bound::Sphere(Slices::Columns) => {
                let matrix = rows * columns;
                let weights = w.chunks_mut(matrix).zip(g.chunks(matrix));
                let means = m.chunks_mut(matrix).zip(v.chunks_mut(matrix));
                for ((w, g), (m, v)) in weights.zip(means) {
                    by_columns([w, m, v], g, columns, n, step.bound);
                }
            }
        }
    }
    (w, m, v)
}

/// A number on an autodiff device.
type Lifted<C> = FloatTensor<Autodiff<Flex, C>>;

/// On an autodiff device: the same, as constants.
pub(crate) fn constant<C: CheckpointStrategy>(
    w: Lifted<C>,
    grad: Lifted<C>,
    m: Lifted<C>,
    v: Lifted<C>,
    step: AdamStep,
) -> (Lifted<C>, Lifted<C>, Lifted<C>) {
    let inner = Lifted::<C>::into_primitive;
    let (w, m, v) = forward(inner(w), inner(grad), inner(m), inner(v), step);
    let lifted = <Autodiff<Flex, C> as AutodiffBackend>::from_inner;
    (lifted(w), lifted(m), lifted(v))
}
