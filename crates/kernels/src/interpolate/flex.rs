//! The interpolation in one pass over memory, forward and backward.

use crate::flex::extension::Fused;
use crate::flex::simd::simd;
use crate::flex::{buffer, contiguous, rows_per_piece, shape, sum_parts, tensor, values};
use crate::profile::{Pass, Work, span};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch<const D: usize>(
    h: Tensor<D>,
    x: Tensor<D>,
    keep: Tensor<1>,
    step: Tensor<1>,
) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fused_interpolate(
        h.into_dispatch(),
        x.into_dispatch(),
        keep.into_dispatch(),
        step.into_dispatch(),
    ))
}

simd! {
    fn forward_rows(h: &[f32], x: &[f32], keep: &[f32], step: &[f32], y: &mut [f32]) {
        let rows = h.chunks_exact(keep.len()).zip(x.chunks_exact(keep.len()));
        for ((h, x), y) in rows.zip(y.chunks_exact_mut(keep.len())) {
            let factors = keep.iter().zip(step);
            for (((y, h), x), (keep, step)) in y.iter_mut().zip(h).zip(x).zip(factors) {
                *y = h * keep + x * step;
            }
        }
    }
}

simd! {
    /// `out = factor * dy` and `sum += dy * x`.
    fn backward_rows(dy: &[f32], x: &[f32], factor: &[f32], out: &mut [f32], sum: &mut [f32]) {
        let width = factor.len();
        let rows = dy.chunks_exact(width).zip(x.chunks_exact(width));
        for ((dy, x), out) in rows.zip(out.chunks_exact_mut(width)) {
            let columns = out.iter_mut().zip(sum.iter_mut()).zip(factor);
            for (((out, sum), factor), (dy, x)) in columns.zip(dy.iter().zip(x)) {
                *out = dy * factor;
                *sum += dy * x;
            }
        }
    }
}

pub(crate) fn forward(
    h: FlexTensor,
    x: FlexTensor,
    keep: FlexTensor,
    step: FlexTensor,
) -> FlexTensor {
    let [h, x, keep, step] = [h, x, keep, step].map(contiguous);
    let _span = span(|| work(Pass::Forward, &h, &keep));
    let mut y = buffer(values(&h).len());
    let width = values(&keep).len();
    let piece = rows_per_piece(width) * width;
    y.par_chunks_mut(piece)
        .zip(values(&h).par_chunks(piece))
        .zip(values(&x).par_chunks(piece))
        .for_each(|((y, h), x)| forward_rows(h, x, values(&keep), values(&step), y));
    tensor(y, shape(&h))
}

/// One pass over three streams of numbers: of a gradient for each of two factors.
fn work(pass: Pass, h: &FlexTensor, factor: &FlexTensor) -> Work {
    let (n, width) = (values(h).len(), values(factor).len());
    Work {
        operation: "interpolate",
        pass,
        shape: vec![n / width, width],
        multiplications: 0,
        numbers: 3 * n,
    }
}

/// `factor * dy`, and the sum of `dy * x` over all rows.
fn gradients(dy: &FlexTensor, x: &FlexTensor, factor: &FlexTensor) -> [FlexTensor; 2] {
    let width = values(factor).len();
    let rows = rows_per_piece(width);
    let _span = span(|| work(Pass::Backward, x, factor));
    let mut out = buffer(values(x).len());
    // One sum per piece, joined in order.
    let mut parts = vec![0.0; out.len().div_ceil(rows * width) * width];
    out.par_chunks_mut(rows * width)
        .zip(values(dy).par_chunks(rows * width))
        .zip(values(x).par_chunks(rows * width))
        .zip(parts.par_chunks_mut(width))
        .for_each(|(((out, dy), x), part)| backward_rows(dy, x, values(factor), out, part));
    [
        tensor(out, shape(x)),
        tensor(sum_parts(&parts, width), [width]),
    ]
}

#[derive(Debug)]
struct InterpolateBackward;

impl Backward<Flex, 4> for InterpolateBackward {
    /// Both streams, and their factors.
    type State = ([NodeId; 2], [FlexTensor; 2]);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (streams, [keep, step]) = ops.state;
        let [h, x] = streams.map(|node| contiguous(graph.retrieve_node_output(node)));
        let [to_h, to_x, to_keep, to_step] = ops.parents;
        let sides = [(h, keep, to_h, to_keep), (x, step, to_x, to_step)];
        for (stream, factor, to_stream, to_factor) in sides {
            if to_stream.is_none() && to_factor.is_none() {
                continue;
            }
            let gradients = gradients(&dy, &stream, &factor);
            for (node, gradient) in [to_stream, to_factor].into_iter().zip(gradients) {
                if let Some(node) = node {
                    grads.register::<Flex>(node.id, gradient);
                }
            }
        }
    }
}

pub(crate) fn tracked<C: CheckpointStrategy>(
    h: FloatTensor<Autodiff<Flex, C>>,
    x: FloatTensor<Autodiff<Flex, C>>,
    keep: FloatTensor<Autodiff<Flex, C>>,
    step: FloatTensor<Autodiff<Flex, C>>,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [h.node(), x.node(), keep.node(), step.node()];
    let factors = [keep, step].map(|x| contiguous(x.into_primitive()));
    let [keep, step] = factors.clone();
    let y = forward(h.primitive().clone(), x.primitive().clone(), keep, step);
    match InterpolateBackward
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let streams = [prep.checkpoint(&h), prep.checkpoint(&x)];
            prep.finish((streams, factors), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
