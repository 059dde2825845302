//! Adam in one pass over memory: a slice is projected while it is still in a cache.

use super::{AdamStep, Bound, Slices};
use crate::flex::extension::Fused;
use crate::flex::matrix::MatrixMut;
use crate::flex::simd::{dot, simd};
use crate::flex::{PIECE, contiguous, owned, owned_values, rows_per_piece, shape, values};
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

/// The numbers of a step as the loops want them.
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
    fn square_of(x: &[f32]) -> f32 {
        dot(x, x)
    }
}

simd! {
    fn add_squares(sums: &mut [f32], x: &[f32]) {
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += x * x;
        }
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
fn factor(square: f32, bound: Bound) -> f32 {
    let norm = square.sqrt();
    match bound {
        Bound::Free => 1.0,
        Bound::Ball(_, radius) => ((radius as f32) / norm).min(1.0),
        Bound::Sphere(_) if norm == 0.0 => 1.0,
        Bound::Sphere(_) => norm.recip(),
    }
}

/// Entries of a block of columns: a quarter of a megabyte stays in a core's cache until its second pass.
const BLOCK: usize = 1 << 16;
/// Columns of a block at least: one line of a cache.
const LINE: usize = 16;

fn columns_per_block(rows: usize) -> usize {
    (BLOCK / rows.max(1)).next_multiple_of(LINE).max(LINE)
}

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
            step_entries(w, g, m, v, n);
            for row in w.chunks_exact_mut(columns) {
                let factor = factor(square_of(row), bound);
                if factor != 1.0 {
                    for x in row {
                        *x *= factor;
                    }
                }
            }
        });
}

fn by_columns(
    [w, m, v]: [&mut [f32]; 3],
    g: &[f32],
    [rows, columns]: [usize; 2],
    n: Numbers,
    bound: Bound,
) {
    let width = columns_per_block(rows);
    let blocks = columns.div_ceil(width);
    // Whole matrices are rows of tiles, so that no block mixes two of them.
    let tiles = |x| MatrixMut::new(x, columns).tiles([rows, width]);
    let (w, m, v) = (tiles(w), tiles(m), tiles(v));
    w.into_par_iter()
        .zip(m.into_par_iter().zip(v))
        .enumerate()
        .for_each(|(index, (mut w, (mut m, mut v)))| {
            let (matrix, block) = (index / blocks, index % blocks);
            let first = block * width;
            let width = width.min(columns - first);
            let mut sums = vec![0.0; width];
            for row in 0..rows {
                let from = (matrix * rows + row) * columns + first;
                let w = w.row(row);
                step_entries(w, &g[from..from + width], m.row(row), v.row(row), n);
                add_squares(&mut sums, w);
            }
            for sum in &mut sums {
                *sum = factor(*sum, bound);
            }
            if sums.iter().any(|factor| *factor != 1.0) {
                for row in 0..rows {
                    multiply(w.row(row), &sums);
                }
            }
        });
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
                by_columns([w, m, v], g, [rows, columns], n, step.bound);
            }
        }
    }
    (w, m, v)
}

/// On an autodiff device: the same, as constants.
pub(crate) fn constant<C: CheckpointStrategy>(
    w: FloatTensor<Autodiff<Flex, C>>,
    grad: FloatTensor<Autodiff<Flex, C>>,
    m: FloatTensor<Autodiff<Flex, C>>,
    v: FloatTensor<Autodiff<Flex, C>>,
    step: AdamStep,
) -> (
    FloatTensor<Autodiff<Flex, C>>,
    FloatTensor<Autodiff<Flex, C>>,
    FloatTensor<Autodiff<Flex, C>>,
) {
    let [w, grad, m, v] = [w, grad, m, v].map(|x| x.into_primitive());
    let (w, m, v) = forward(w, grad, m, v, step);
    let lifted = <Autodiff<Flex, C> as AutodiffBackend>::from_inner;
    (lifted(w), lifted(m), lifted(v))
}
