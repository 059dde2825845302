//! SwiGLU in one pass over memory, forward and backward.

use crate::flex::extension::Fused;
use crate::flex::simd::{exp, simd};
use crate::flex::{PIECE, buffer, contiguous, shape, tensor, values};
use crate::profile::{Pass, Work, span};
use crate::recompute::Recomputed;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::BalancedCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch<const D: usize>(
    gate: Tensor<D>,
    up: Tensor<D>,
    before: f64,
    after: f64,
) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fused_swiglu(
        gate.into_dispatch(),
        up.into_dispatch(),
        before as f32,
        after as f32,
    ))
}

simd! {
    fn forward_piece(gate: &[f32], up: &[f32], before: f32, after: f32, y: &mut [f32]) {
        for ((y, &gate), &up) in y.iter_mut().zip(gate).zip(up) {
            let z = gate * before;
            *y = after * up * z / (1.0 + exp(-z));
        }
    }
}

simd! {
    /// With `s = 1 / (1 + e^-z)`: `silu(z) = z s`, `silu'(z) = s + z s (1 - s)`.
    fn backward_piece(
        gate: &[f32],
        up: &[f32],
        before: f32,
        after: f32,
        dy: &[f32],
        dgate: &mut [f32],
        dup: &mut [f32],
    ) {
        let inputs = gate.iter().zip(up).zip(dy);
        for (((&gate, &up), &dy), (dgate, dup)) in inputs.zip(dgate.iter_mut().zip(dup)) {
            let z = gate * before;
            let s = 1.0 / (1.0 + exp(-z));
            let silu = z * s;
            let dy = dy * after;
            *dup = dy * silu;
            *dgate = dy * up * before * (s + silu * (1.0 - s));
        }
    }
}

/// One pass over so many streams of numbers.
fn work(pass: Pass, streams: usize, gate: &FlexTensor) -> Work {
    let n = values(gate).len();
    Work {
        operation: "swiglu",
        pass,
        shape: vec![n],
        multiplications: 0,
        numbers: streams * n,
    }
}

pub(crate) fn forward(gate: FlexTensor, up: FlexTensor, before: f32, after: f32) -> FlexTensor {
    let (gate, up) = (contiguous(gate), contiguous(up));
    let _span = span(|| work(Pass::Forward, 3, &gate));
    let mut y = buffer(values(&gate).len());
    y.par_chunks_mut(PIECE)
        .zip(values(&gate).par_chunks(PIECE))
        .zip(values(&up).par_chunks(PIECE))
        .for_each(|((y, gate), up)| forward_piece(gate, up, before, after, y));
    tensor(y, shape(&gate))
}

#[derive(Debug)]
struct SwigluBackward;

impl Backward<Flex, 2> for SwigluBackward {
    /// Gate, up, and the two factors.
    type State = ([NodeId; 2], f32, f32);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let [to_gate, to_up] = ops.parents;
        let (inputs, before, after) = ops.state;
        let [gate, up] = inputs.map(|input| contiguous(graph.retrieve_node_output(input)));
        let n = values(&gate).len();
        let _span = span(|| work(Pass::Backward, 5, &gate));
        let (mut dgate, mut dup) = (buffer(n), buffer(n));
        dgate
            .par_chunks_mut(PIECE)
            .zip(dup.par_chunks_mut(PIECE))
            .zip(values(&gate).par_chunks(PIECE))
            .zip(values(&up).par_chunks(PIECE))
            .zip(values(&dy).par_chunks(PIECE))
            .for_each(|((((dgate, dup), gate), up), dy)| {
                backward_piece(gate, up, before, after, dy, dgate, dup);
            });
        if let Some(node) = to_gate {
            grads.register::<Flex>(node.id, tensor(dgate, shape(&gate)));
        }
        if let Some(node) = to_up {
            grads.register::<Flex>(node.id, tensor(dup, shape(&gate)));
        }
    }
}

pub(crate) fn tracked(
    gate: &FloatTensor<Autodiff<Flex>>,
    up: &FloatTensor<Autodiff<Flex>>,
    before: f32,
    after: f32,
) -> FloatTensor<Autodiff<Flex>> {
    let y = forward(
        gate.primitive().clone(),
        up.primitive().clone(),
        before,
        after,
    );
    let recomputed = Recomputed::new([gate.id(), up.id()], move |[gate, up]: [FlexTensor; 2]| {
        forward(gate, up, before, after)
    });
    match SwigluBackward
        .prepare::<BalancedCheckpointing>([gate.node(), up.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([gate, up])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let inputs = [prep.checkpoint(gate), prep.checkpoint(up)];
            prep.finish((inputs, before, after), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
