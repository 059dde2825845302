//! Rotation, in place where the tensor has no other owner.

use crate::flex::extension::Fused;
use crate::flex::simd::simd;
use crate::flex::{buffer, contiguous, owned_values, rows_per_piece, shape, tensor, values};
use crate::profile::{Pass, Work, span};
use crate::recompute::Recomputed;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::BalancedCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>, heads: usize) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::fused_rotary(
        x.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        heads,
    ))
}

simd! {
    /// One position, all heads of `head` channels; `direction` is 1 or, in the backward pass, -1. The tables may be shorter
    /// than half a head: the channels after the last pair stay.
    fn turn_in_place(x: &mut [f32], head: usize, cos: &[f32], sin: &[f32], direction: f32) {
        for head in x.chunks_exact_mut(head) {
            for (pair, (cos, sin)) in head.chunks_exact_mut(2).zip(cos.iter().zip(sin)) {
                let (a, b, sin) = (pair[0], pair[1], sin * direction);
                pair[0] = a * cos - b * sin;
                pair[1] = a * sin + b * cos;
            }
        }
    }
}

simd! {
    /// [`turn_in_place`] into another row.
    fn turn(x: &[f32], y: &mut [f32], head: usize, cos: &[f32], sin: &[f32], direction: f32) {
        for (x, y) in x.chunks_exact(head).zip(y.chunks_exact_mut(head)) {
            let turned = 2 * cos.len();
            if turned < head {
                y[turned..].copy_from_slice(&x[turned..]);
            }
            let pairs = x.chunks_exact(2).zip(y.chunks_exact_mut(2));
            for ((x, y), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                let sin = sin * direction;
                y[0] = x[0] * cos - x[1] * sin;
                y[1] = x[0] * sin + x[1] * cos;
            }
        }
    }
}

/// Cosines and sines, one line per row of the first sequence or of all.
#[derive(Debug, Clone)]
struct Tables {
    cos: FlexTensor,
    sin: FlexTensor,
    /// Heads of a row.
    heads: usize,
}

impl Tables {
    /// Cosines and sines of a row of `[B T, H K]`.
    fn line(&self, row: usize) -> (&[f32], &[f32]) {
        let [positions, pairs] = self.cos.layout().shape().dims::<2>();
        let range = row % positions * pairs..(row % positions + 1) * pairs;
        (&values(&self.cos)[range.clone()], &values(&self.sin)[range])
    }

    fn apply(&self, x: FlexTensor, direction: f32) -> FlexTensor {
        let mut x = contiguous(x);
        let width = x.layout().shape()[2];
        let head = width / self.heads;
        let rows = rows_per_piece(width);
        let _span = span(|| Work {
            operation: "rotary",
            pass: if direction > 0.0 {
                Pass::Forward
            } else {
                Pass::Backward
            },
            shape: vec![values(&x).len() / width, width],
            multiplications: 0,
            numbers: 2 * values(&x).len(),
        });
        if let Some(entries) = owned_values(&mut x) {
            let pieces = entries.par_chunks_mut(rows * width).enumerate();
            pieces.for_each(|(piece, x)| {
                for (i, x) in x.chunks_exact_mut(width).enumerate() {
                    let (cos, sin) = self.line(piece * rows + i);
                    turn_in_place(x, head, cos, sin, direction);
                }
            });
            return x;
        }
        let mut y = buffer(values(&x).len());
        y.par_chunks_mut(rows * width)
            .zip(values(&x).par_chunks(rows * width))
            .enumerate()
            .for_each(|(piece, (y, x))| {
                let rows_of_piece = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
                for (i, (x, y)) in rows_of_piece.enumerate() {
                    let (cos, sin) = self.line(piece * rows + i);
                    turn(x, y, head, cos, sin, direction);
                }
            });
        tensor(y, shape(&x))
    }
}

pub(crate) fn forward(x: FlexTensor, cos: FlexTensor, sin: FlexTensor, heads: usize) -> FlexTensor {
    let (cos, sin) = (contiguous(cos), contiguous(sin));
    Tables { cos, sin, heads }.apply(x, 1.0)
}

#[derive(Debug)]
struct RotaryBackward;

impl Backward<Flex, 1> for RotaryBackward {
    type State = Tables;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let [node] = ops.parents;
        if let Some(node) = node {
            // A rotation's transpose is the rotation back.
            grads.register::<Flex>(node.id, ops.state.apply(dy, -1.0));
        }
    }
}

pub(crate) fn tracked(
    x: &FloatTensor<Autodiff<Flex>>,
    cos: FloatTensor<Autodiff<Flex>>,
    sin: FloatTensor<Autodiff<Flex>>,
    heads: usize,
) -> FloatTensor<Autodiff<Flex>> {
    let tables = Tables {
        cos: contiguous(cos.into_primitive()),
        sin: contiguous(sin.into_primitive()),
        heads,
    };
    let y = tables.apply(x.primitive().clone(), 1.0);
    let recomputed = Recomputed::new([x.id()], {
        let tables = tables.clone();
        move |[x]: [FlexTensor; 1]| tables.apply(x, 1.0)
    });
    match RotaryBackward
        .prepare::<BalancedCheckpointing>([x.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([x])
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(tables, y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
