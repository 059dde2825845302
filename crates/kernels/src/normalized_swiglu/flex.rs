//! SwiGLU of normalized branches in one pass over memory, forward and backward.
//!
//! Some rows of the branches at a time go through the normalization and the gated unit as they would through those
//! operations, so every number is the same; what is between them stays in the first cache.

use super::Normalization;
use crate::flex::extension::Fused;
use crate::flex::{
    buffer, contiguous, rows_per_piece, shape, sum_parts, tensor, values, with_scratch,
};
use crate::normalize::flex::{Rule, backward_rows_with_gain, forward_rows};
use crate::profile::{Pass, Work, span};
use crate::recompute::Recomputed;
use crate::swiglu::flex::{backward_piece, forward_piece};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::BalancedCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::{DType, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// Entries of the rows that go through the operations together: 8 KiB of each branch and of what is computed of it.
const BLOCK: usize = 1 << 11;

pub(super) fn dispatch<const D: usize>(
    branches: [(Tensor<D>, Normalization); 2],
    before: f64,
    after: f64,
) -> Tensor<D> {
    let [gate, up] = &branches;
    let unit = Unit {
        width: gate.0.dims()[D - 1],
        rules: [&gate.1, &up.1].map(|it| Rule::new(it.size, it.eps, it.group)),
        before: before as f32,
        after: after as f32,
    };
    let [(gate, of_gate), (up, of_up)] = branches.map(|(x, normalization)| {
        let Normalization { gain, group, .. } = normalization;
        // Products with 1 are exact.
        let gain = gain.unwrap_or_else(|| Tensor::ones([group], (&x.device(), DType::F32)));
        (x.into_dispatch(), gain.into_dispatch())
    });
    Tensor::from_dispatch(Dispatch::fused_normalized_swiglu(
        gate, up, of_gate, of_up, unit,
    ))
}

/// The constants of the operation; the rules are those of gate and up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    /// Channels.
    width: usize,
    rules: [Rule; 2],
    before: f32,
    after: f32,
}

/// Cuts the front of `scratch` into parts of these lengths.
fn split<const N: usize>(mut scratch: &mut [f32], lengths: [usize; N]) -> [&mut [f32]; N] {
    lengths.map(|length| {
        let (part, rest) = std::mem::take(&mut scratch).split_at_mut(length);
        scratch = rest;
        part
    })
}

impl Unit {
    /// `y` of some rows.
    fn forward(self, [gate, up]: [&[f32]; 2], gains: [&[f32]; 2], y: &mut [f32]) {
        let Self {
            rules,
            before,
            after,
            ..
        } = self;
        let n = self.block();
        let lengths = [n, n, n / rules[0].group, n / rules[1].group];
        with_scratch(lengths.iter().sum(), |scratch| {
            let [normal_gate, normal_up, of_gate, of_up] = split(scratch, lengths);
            let inputs = gate.chunks(n).zip(up.chunks(n));
            for ((gate, up), y) in inputs.zip(y.chunks_mut(n)) {
                forward_rows(gate, Some(gains[0]), rules[0], normal_gate, of_gate);
                forward_rows(up, Some(gains[1]), rules[1], normal_up, of_up);
                forward_piece(normal_gate, normal_up, before, after, y);
            }
        });
    }

    /// The gradients of some rows; adds those of the gains to `dgains`.
    fn backward(
        self,
        [gate, up]: [&[f32]; 2],
        gains: [&[f32]; 2],
        dy: &[f32],
        [dgate, dup]: [&mut [f32]; 2],
        dgains: [&mut [f32]; 2],
    ) {
        let Self {
            rules,
            before,
            after,
            ..
        } = self;
        let n = self.block();
        let lengths = [n, n, n, n, n / rules[0].group, n / rules[1].group];
        with_scratch(lengths.iter().sum(), |scratch| {
            let [normal_gate, normal_up, to_gate, to_up, of_gate, of_up] = split(scratch, lengths);
            let inputs = gate.chunks(n).zip(up.chunks(n)).zip(dy.chunks(n));
            let outputs = dgate.chunks_mut(n).zip(dup.chunks_mut(n));
            let [dgate_gain, dup_gain] = dgains;
            for (((gate, up), dy), (dgate, dup)) in inputs.zip(outputs) {
                forward_rows(gate, Some(gains[0]), rules[0], normal_gate, of_gate);
                forward_rows(up, Some(gains[1]), rules[1], normal_up, of_up);
                backward_piece(normal_gate, normal_up, before, after, dy, to_gate, to_up);
                let (gain, rule) = (gains[0], rules[0]);
                backward_rows_with_gain(gate, gain, rule, of_gate, to_gate, dgate, dgate_gain);
                let (gain, rule) = (gains[1], rules[1]);
                backward_rows_with_gain(up, gain, rule, of_up, to_up, dup, dup_gain);
            }
        });
    }

    /// Entries of the rows that go through the operations together.
    fn block(self) -> usize {
        (BLOCK / self.width).max(1) * self.width
    }

    /// Entries of a task's rows.
    fn piece(self) -> usize {
        rows_per_piece(self.width) * self.width
    }

    /// One pass over so many streams of `n` numbers.
    fn work(self, pass: Pass, streams: usize, n: usize) -> Work {
        Work {
            operation: "normalized_swiglu",
            pass,
            shape: vec![n / self.width, self.width],
            multiplications: 0,
            numbers: streams * n,
        }
    }
}

pub(crate) fn forward(branches: [FlexTensor; 2], gains: [FlexTensor; 2], unit: Unit) -> FlexTensor {
    let [[gate, up], gains] = [branches, gains].map(|pair| pair.map(contiguous));
    let n = values(&gate).len();
    let _span = span(|| unit.work(Pass::Forward, 3, n));
    let gains = gains.each_ref().map(values);
    let (mut y, piece) = (buffer(n), unit.piece());
    y.par_chunks_mut(piece)
        .zip(values(&gate).par_chunks(piece))
        .zip(values(&up).par_chunks(piece))
        .for_each(|((y, gate), up)| unit.forward([gate, up], gains, y));
    tensor(y, shape(&gate))
}

#[derive(Debug)]
struct NormalizedSwigluBackward;

impl Backward<Flex, 4> for NormalizedSwigluBackward {
    /// The branches, and the gains.
    type State = ([NodeId; 2], [FlexTensor; 2], Unit);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (branches, gains, unit) = ops.state;
        let branches = branches.map(|branch| contiguous(graph.retrieve_node_output(branch)));
        let [gate, up] = &branches;
        let n = values(gate).len();
        let _span = span(|| unit.work(Pass::Backward, 5, n));
        let (mut dgate, mut dup, piece) = (buffer(n), buffer(n), unit.piece());
        // One sum per piece, joined in order.
        let groups = unit.rules.map(|rule| rule.group);
        let mut parts = groups.map(|group| vec![0.0; n.div_ceil(piece) * group]);
        let [of_gate, of_up] = &mut parts;
        let gains = gains.each_ref().map(values);
        dgate
            .par_chunks_mut(piece)
            .zip(dup.par_chunks_mut(piece))
            .zip(values(gate).par_chunks(piece))
            .zip(values(up).par_chunks(piece))
            .zip(values(&dy).par_chunks(piece))
            .zip(of_gate.par_chunks_mut(groups[0]))
            .zip(of_up.par_chunks_mut(groups[1]))
            .for_each(|((((((dgate, dup), gate), up), dy), of_gate), of_up)| {
                unit.backward([gate, up], gains, dy, [dgate, dup], [of_gate, of_up]);
            });
        let [to_gate, to_up, to_gate_gain, to_up_gain] = ops.parents;
        for (node, gradient) in [(to_gate, dgate), (to_up, dup)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(gradient, shape(gate)));
            }
        }
        for ((node, parts), group) in [to_gate_gain, to_up_gain]
            .into_iter()
            .zip(parts)
            .zip(groups)
        {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(sum_parts(&parts, group), [group]));
            }
        }
    }
}

pub(crate) fn tracked(
    branches: [&FloatTensor<Autodiff<Flex>>; 2],
    gains: [&FloatTensor<Autodiff<Flex>>; 2],
    unit: Unit,
) -> FloatTensor<Autodiff<Flex>> {
    let values = gains.map(|gain| contiguous(gain.primitive().clone()));
    let y = forward(
        branches.map(|branch| branch.primitive().clone()),
        values.clone(),
        unit,
    );
    let ([gate, up], [gate_gain, up_gain]) = (branches, gains);
    let recomputed = Recomputed::new(
        [gate.id(), up.id(), gate_gain.id(), up_gain.id()],
        move |[gate, up, gate_gain, up_gain]: [FlexTensor; 4]| {
            forward([gate, up], [gate_gain, up_gain], unit)
        },
    );
    match NormalizedSwigluBackward
        .prepare::<BalancedCheckpointing>([
            gate.node(),
            up.node(),
            gate_gain.node(),
            up_gain.node(),
        ])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([gate, up, gate_gain, up_gain])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let branches = branches.map(|branch| prep.checkpoint(branch));
            prep.finish((branches, values, unit), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
