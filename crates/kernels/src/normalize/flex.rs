//! Normalization in one pass over memory, forward and backward.

use super::Size;
use crate::flex::extension::Fused;
use crate::flex::simd::{dot_in_double, simd};
use crate::flex::{buffer, contiguous, rows_per_piece, shape, sum_parts, tensor, values};
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
    x: Tensor<D>,
    gain: Option<Tensor<1>>,
    size: Size,
    eps: f64,
    group: usize,
) -> Tensor<D> {
    let x = x.into_dispatch();
    let rule = Rule::new(size, eps, group);
    Tensor::from_dispatch(match gain {
        None => Dispatch::fused_normalize(x, rule),
        Some(gain) => Dispatch::fused_normalize_with_gain(x, gain.into_dispatch(), rule),
    })
}

/// Every `group` channels are divided by `sqrt(share * sum of squares + eps)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) group: usize,
    share: f64,
    eps: f64,
}

impl Rule {
    pub(crate) fn new(size: Size, eps: f64, group: usize) -> Self {
        let share = match size {
            Size::Rms => 1.0 / group as f64,
            Size::L2 => 1.0,
        };
        Self { group, share, eps }
    }
}

simd! {
    fn forward_rows(x: &[f32], gain: Option<&[f32]>, rule: Rule, y: &mut [f32], factors: &mut [f32]) {
        let rows = x.chunks_exact(rule.group).zip(y.chunks_exact_mut(rule.group));
        for ((x, y), factor) in rows.zip(factors) {
            let square = dot_in_double(x, x) * rule.share + rule.eps;
            // Zeros have no direction: they stay zeros, and so do their gradients.
            let f = if square == 0.0 { 0.0 } else { (1.0 / square.sqrt()) as f32 };
            *factor = f;
            match gain {
                Some(gain) => {
                    for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
                        *y = x * f * gain;
                    }
                }
                None => {
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = x * f;
                    }
                }
            }
        }
    }
}

simd! {
    /// With `f = 1 / size(x)`: `dx = f (dy - x f^2 share (dy . x))`.
    fn backward_rows(x: &[f32], rule: Rule, factors: &[f32], dy: &[f32], dx: &mut [f32]) {
        let rows = x.chunks_exact(rule.group).zip(dy.chunks_exact(rule.group));
        let rows = rows.zip(dx.chunks_exact_mut(rule.group));
        for (((x, dy), dx), &f) in rows.zip(factors) {
            let along = (dot_in_double(dy, x) * f64::from(f) * f64::from(f) * rule.share) as f32;
            for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
                *dx = f * (dy - x * along);
            }
        }
    }
}

simd! {
    /// The same with `gain * dy` for `dy`; adds `dy x f` to `dgain`.
    fn backward_rows_with_gain(
        x: &[f32],
        gain: &[f32],
        rule: Rule,
        factors: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dgain: &mut [f32],
    ) {
        let rows = x.chunks_exact(rule.group).zip(dy.chunks_exact(rule.group));
        let rows = rows.zip(dx.chunks_exact_mut(rule.group));
        for (((x, dy), dx), &f) in rows.zip(factors) {
            for ((dx, dy), gain) in dx.iter_mut().zip(dy).zip(gain) {
                *dx = dy * gain;
            }
            let along = (dot_in_double(dx, x) * f64::from(f) * f64::from(f) * rule.share) as f32;
            let gains = dy.iter().zip(dgain.iter_mut());
            for ((dx, x), (dy, dgain)) in dx.iter_mut().zip(x).zip(gains) {
                *dx = f * (*dx - x * along);
                *dgain += dy * x * f;
            }
        }
    }
}

/// One pass over `n` numbers: forward one to read and one to write, backward two to read and one to write.
fn work(pass: Pass, n: usize, rule: Rule) -> Work {
    let streams = if pass == Pass::Forward { 2 } else { 3 };
    Work {
        operation: "normalize",
        pass,
        shape: vec![n / rule.group, rule.group],
        multiplications: 0,
        numbers: streams * n,
    }
}

/// The result and `1 / size` of every group.
fn compute(x: &FlexTensor, gain: Option<&FlexTensor>, rule: Rule) -> (FlexTensor, Vec<f32>) {
    let entries = values(x);
    let _span = span(|| work(Pass::Forward, entries.len(), rule));
    let gain = gain.map(values);
    let mut y = buffer(entries.len());
    let mut factors = buffer(entries.len() / rule.group);
    let rows = rows_per_piece(rule.group);
    y.par_chunks_mut(rows * rule.group)
        .zip(entries.par_chunks(rows * rule.group))
        .zip(factors.par_chunks_mut(rows))
        .for_each(|((y, x), factors)| forward_rows(x, gain, rule, y, factors));
    (tensor(y, shape(x)), factors)
}

pub(crate) fn forward(x: FlexTensor, gain: Option<FlexTensor>, rule: Rule) -> FlexTensor {
    compute(&contiguous(x), gain.map(contiguous).as_ref(), rule).0
}

/// What the backward pass reads.
#[derive(Debug, Clone)]
struct Kept {
    x: NodeId,
    factors: Vec<f32>,
    rule: Rule,
}

#[derive(Debug)]
struct NormalizeBackward;

impl Backward<Flex, 1> for NormalizeBackward {
    type State = Kept;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let Kept { x, factors, rule } = ops.state;
        let x = contiguous(graph.retrieve_node_output(x));
        let _span = span(|| work(Pass::Backward, values(&x).len(), rule));
        let mut dx = buffer(values(&x).len());
        let rows = rows_per_piece(rule.group);
        dx.par_chunks_mut(rows * rule.group)
            .zip(values(&x).par_chunks(rows * rule.group))
            .zip(values(&dy).par_chunks(rows * rule.group))
            .zip(factors.par_chunks(rows))
            .for_each(|(((dx, x), dy), factors)| backward_rows(x, rule, factors, dy, dx));
        let [node] = ops.parents;
        if let Some(node) = node {
            grads.register::<Flex>(node.id, tensor(dx, shape(&x)));
        }
    }
}

#[derive(Debug)]
struct NormalizeWithGainBackward;

impl Backward<Flex, 2> for NormalizeWithGainBackward {
    type State = (Kept, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (Kept { x, factors, rule }, gain) = ops.state;
        let x = contiguous(graph.retrieve_node_output(x));
        let _span = span(|| work(Pass::Backward, values(&x).len(), rule));
        let (group, rows) = (rule.group, rows_per_piece(rule.group));
        let mut dx = buffer(values(&x).len());
        // One sum per piece, joined in order.
        let mut parts = vec![0.0; factors.len().div_ceil(rows) * group];
        dx.par_chunks_mut(rows * group)
            .zip(values(&x).par_chunks(rows * group))
            .zip(values(&dy).par_chunks(rows * group))
            .zip(factors.par_chunks(rows))
            .zip(parts.par_chunks_mut(group))
            .for_each(|((((dx, x), dy), factors), part)| {
                backward_rows_with_gain(x, values(&gain), rule, factors, dy, dx, part);
            });
        let [to_x, to_gain] = ops.parents;
        if let Some(node) = to_x {
            grads.register::<Flex>(node.id, tensor(dx, shape(&x)));
        }
        if let Some(node) = to_gain {
            let sum = sum_parts(&parts, group);
            grads.register::<Flex>(node.id, tensor(sum, [group]));
        }
    }
}

pub(crate) fn tracked(x: &FloatTensor<Autodiff<Flex>>, rule: Rule) -> FloatTensor<Autodiff<Flex>> {
    let (y, factors) = compute(&contiguous(x.primitive().clone()), None, rule);
    let recomputed = Recomputed::new([x.id()], move |[x]: [FlexTensor; 1]| forward(x, None, rule));
    match NormalizeBackward
        .prepare::<BalancedCheckpointing>([x.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([x])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let x = prep.checkpoint(x);
            prep.finish(Kept { x, factors, rule }, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

pub(crate) fn tracked_with_gain(
    x: &FloatTensor<Autodiff<Flex>>,
    gain: &FloatTensor<Autodiff<Flex>>,
    rule: Rule,
) -> FloatTensor<Autodiff<Flex>> {
    let values = contiguous(gain.primitive().clone());
    let (y, factors) = compute(&contiguous(x.primitive().clone()), Some(&values), rule);
    let recomputed = Recomputed::new([x.id(), gain.id()], move |[x, gain]: [FlexTensor; 2]| {
        forward(x, Some(gain), rule)
    });
    match NormalizeWithGainBackward
        .prepare::<BalancedCheckpointing>([x.node(), gain.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([x, gain])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let x = prep.checkpoint(x);
            prep.finish((Kept { x, factors, rule }, values), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
