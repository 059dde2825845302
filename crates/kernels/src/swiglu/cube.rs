//! SwiGLU on GPU backends, one kernel for each pass.

use crate::cube::extension::FusedCube;
use crate::cube::{buffer, contiguous, element, empty};
use crate::recompute::Recomputed;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::BalancedCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;
use evenburn_cube::swiglu::Scales;
use std::marker::PhantomData;

pub(super) fn dispatch<const D: usize>(
    gate: Tensor<D>,
    up: Tensor<D>,
    before: f64,
    after: f64,
) -> Tensor<D> {
    let scales = Scales {
        before: before as f32,
        after: after as f32,
    };
    Tensor::from_dispatch(Dispatch::cube_swiglu(
        gate.into_dispatch(),
        up.into_dispatch(),
        scales,
    ))
}

pub(crate) fn forward(gate: CubeTensor, up: CubeTensor, scales: Scales) -> CubeTensor {
    let [gate, up] = [gate, up].map(contiguous);
    let y = empty(&gate, gate.shape(), gate.dtype);
    evenburn_cube::swiglu::forward(
        &gate.client,
        [&buffer(&gate), &buffer(&up)],
        &buffer(&y),
        scales,
        element(&gate),
    );
    y
}

pub(crate) fn backward(
    gate: CubeTensor,
    up: CubeTensor,
    dy: CubeTensor,
    scales: Scales,
) -> (CubeTensor, CubeTensor) {
    let [gate, up, dy] = [gate, up, dy].map(contiguous);
    let [dgate, dup] = [(); 2].map(|()| empty(&gate, gate.shape(), gate.dtype));
    evenburn_cube::swiglu::backward(
        &gate.client,
        [&buffer(&gate), &buffer(&up)],
        &buffer(&dy),
        [&buffer(&dgate), &buffer(&dup)],
        scales,
        element(&gate),
    );
    (dgate, dup)
}

#[derive(Debug)]
struct SwigluBackward<B>(PhantomData<B>);

impl<B: FusedCube> Backward<B, 2> for SwigluBackward<B> {
    /// Gate and up.
    type State = ([NodeId; 2], Scales);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (inputs, scales) = ops.state;
        let [gate, up] = inputs.map(|input| graph.retrieve_node_output(input));
        let (dgate, dup) = B::cube_swiglu_backward(gate, up, dy, scales);
        for (node, gradient) in ops.parents.into_iter().zip([dgate, dup]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

pub(crate) fn tracked<B: FusedCube>(
    gate: &FloatTensor<Autodiff<B>>,
    up: &FloatTensor<Autodiff<B>>,
    scales: Scales,
) -> FloatTensor<Autodiff<B>> {
    let y = B::cube_swiglu(gate.primitive().clone(), up.primitive().clone(), scales);
    let recomputed = Recomputed::new(
        [gate.id(), up.id()],
        move |[gate, up]: [FloatTensor<B>; 2]| B::cube_swiglu(gate, up, scales),
    );
    match SwigluBackward::<B>(PhantomData)
        .prepare::<BalancedCheckpointing>([gate.node(), up.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([gate, up])
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let inputs = [prep.checkpoint(gate), prep.checkpoint(up)];
            prep.finish((inputs, scales), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
