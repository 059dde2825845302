//! Normalization on GPU backends, one kernel for each pass.

use super::Size;
use crate::cube::extension::FusedCube;
use crate::cube::{buffer, contiguous, element, empty};
use crate::recompute::Recomputed;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::BalancedCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use evenburn_cube::normalize::{Kept, Rule, parts};
use std::marker::PhantomData;

pub(super) fn dispatch<const D: usize>(
    x: Tensor<D>,
    gain: Option<Tensor<1>>,
    size: Size,
    eps: f64,
    group: usize,
) -> Tensor<D> {
    let rule = Rule {
        width: group,
        share: match size {
            Size::Rms => 1.0 / group as f32,
            Size::L2 => 1.0,
        },
        eps: eps as f32,
    };
    let x = x.into_dispatch();
    Tensor::from_dispatch(match gain {
        None => Dispatch::cube_normalize(x, rule),
        Some(gain) => Dispatch::cube_normalize_with_gain(x, gain.into_dispatch(), rule),
    })
}

/// The result, and `1 / size` of each row in f32.
pub(crate) fn forward(
    x: CubeTensor,
    gain: Option<CubeTensor>,
    rule: Rule,
) -> (CubeTensor, CubeTensor) {
    let (x, gain) = (contiguous(x), gain.map(contiguous));
    let y = empty(&x, x.shape(), x.dtype);
    let factors = empty(&x, [x.shape().num_elements() / rule.width], DType::F32);
    evenburn_cube::normalize::forward(
        &x.client,
        [&buffer(&x), &buffer(&y)],
        gain.as_ref().map(buffer).as_ref(),
        &buffer(&factors),
        rule,
        element(&x),
    );
    (y, factors)
}

/// The gradient of the rows, and with a gain parts of its own, `[parts, width]` in f32.
pub(crate) fn backward(
    x: CubeTensor,
    gain: Option<CubeTensor>,
    factors: CubeTensor,
    dy: CubeTensor,
    rule: Rule,
) -> (CubeTensor, CubeTensor) {
    let [x, factors, dy] = [x, factors, dy].map(contiguous);
    let gain = gain.map(contiguous);
    let dx = empty(&x, x.shape(), x.dtype);
    let rows = x.shape().num_elements() / rule.width;
    let shape = match gain {
        Some(_) => [parts(rows), rule.width],
        None => [1, 1],
    };
    let sums = empty(&x, shape, DType::F32);
    evenburn_cube::normalize::backward(
        &x.client,
        &Kept {
            x: &buffer(&x),
            gain: gain.as_ref().map(buffer).as_ref(),
            factors: &buffer(&factors),
        },
        [&buffer(&dy), &buffer(&dx)],
        &buffer(&sums),
        rule,
        element(&x),
    );
    (dx, sums)
}

#[derive(Debug)]
struct NormalizeBackward<B>(PhantomData<B>);

impl<B: FusedCube> Backward<B, 1> for NormalizeBackward<B> {
    /// The rows and `1 / size` of each.
    type State = (NodeId, FloatTensor<B>, Rule);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, factors, rule) = ops.state;
        let x = graph.retrieve_node_output(x);
        let [node] = ops.parents;
        if let Some(node) = node {
            let dx = B::cube_normalize_backward(x, factors, dy, rule);
            grads.register::<B>(node.id, dx);
        }
    }
}

#[derive(Debug)]
struct NormalizeWithGainBackward<B>(PhantomData<B>);

impl<B: FusedCube> Backward<B, 2> for NormalizeWithGainBackward<B> {
    /// The rows, the gain, and `1 / size` of each row.
    type State = (NodeId, FloatTensor<B>, FloatTensor<B>, Rule);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, gain, factors, rule) = ops.state;
        let x = graph.retrieve_node_output(x);
        let dtype = gain.dtype();
        let (dx, parts) = B::cube_normalize_with_gain_backward(x, gain, factors, dy, rule);
        let [to_x, to_gain] = ops.parents;
        if let Some(node) = to_x {
            grads.register::<B>(node.id, dx);
        }
        if let Some(node) = to_gain {
            let sum = B::float_reshape(B::float_sum_dim(parts, 0), Shape::new([rule.width]));
            let sum = if dtype == DType::F32 {
                sum
            } else {
                B::float_cast(sum, dtype.into())
            };
            grads.register::<B>(node.id, sum);
        }
    }
}

pub(crate) fn tracked<B: FusedCube>(
    x: &FloatTensor<Autodiff<B>>,
    rule: Rule,
) -> FloatTensor<Autodiff<B>> {
    let (y, factors) = B::cube_normalize_keeping(x.primitive().clone(), rule);
    let recomputed = Recomputed::new([x.id()], move |[x]: [FloatTensor<B>; 1]| {
        B::cube_normalize(x, rule)
    });
    match NormalizeBackward::<B>(PhantomData)
        .prepare::<BalancedCheckpointing>([x.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([x])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let x = prep.checkpoint(x);
            prep.finish((x, factors, rule), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

pub(crate) fn tracked_with_gain<B: FusedCube>(
    x: &FloatTensor<Autodiff<B>>,
    gain: &FloatTensor<Autodiff<B>>,
    rule: Rule,
) -> FloatTensor<Autodiff<B>> {
    let values = gain.primitive().clone();
    let (y, factors) =
        B::cube_normalize_with_gain_keeping(x.primitive().clone(), values.clone(), rule);
    let recomputed = Recomputed::new(
        [x.id(), gain.id()],
        move |[x, gain]: [FloatTensor<B>; 2]| B::cube_normalize_with_gain(x, gain, rule),
    );
    match NormalizeWithGainBackward::<B>(PhantomData)
        .prepare::<BalancedCheckpointing>([x.node(), gain.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([x, gain])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let x = prep.checkpoint(x);
            prep.finish((x, values, factors, rule), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
