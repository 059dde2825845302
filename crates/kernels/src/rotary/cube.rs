//! Rotation on GPU backends, one kernel for both passes.

use crate::cube::extension::FusedCube;
use crate::cube::{buffer, contiguous, element, empty};
use crate::recompute::Recomputed;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::BalancedCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, TensorMetadata};
use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;
use evenburn_cube::rotary::Rows;
use std::marker::PhantomData;

pub(super) fn dispatch(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>, heads: usize) -> Tensor<3> {
    let ([_, _, width], [positions, pairs]) = (x.dims(), cos.dims());
    let rows = Rows {
        width,
        head: width / heads,
        pairs,
        positions,
    };
    Tensor::from_dispatch(Dispatch::cube_rotary(
        x.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        rows,
        1.0,
    ))
}

pub(crate) fn turn(
    x: CubeTensor,
    cos: CubeTensor,
    sin: CubeTensor,
    rows: Rows,
    direction: f32,
) -> CubeTensor {
    let [x, cos, sin] = [x, cos, sin].map(contiguous);
    let y = empty(&x, x.shape(), x.dtype);
    evenburn_cube::rotary::turn(
        &x.client,
        [&buffer(&x), &buffer(&y)],
        [&buffer(&cos), &buffer(&sin)],
        rows,
        direction,
        element(&x),
    );
    y
}

#[derive(Debug)]
struct RotaryBackward<B>(PhantomData<B>);

impl<B: FusedCube> Backward<B, 1> for RotaryBackward<B> {
    /// The tables, how they are read, and the direction.
    type State = ([FloatTensor<B>; 2], Rows, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let ([cos, sin], rows, direction) = ops.state;
        let [node] = ops.parents;
        if let Some(node) = node {
            // A rotation's transpose is the rotation back.
            grads.register::<B>(node.id, B::cube_rotary(dy, cos, sin, rows, -direction));
        }
    }
}

pub(crate) fn tracked<B: FusedCube>(
    x: &FloatTensor<Autodiff<B>>,
    tables: [FloatTensor<B>; 2],
    rows: Rows,
    direction: f32,
) -> FloatTensor<Autodiff<B>> {
    let apply =
        move |x, [cos, sin]: [FloatTensor<B>; 2]| B::cube_rotary(x, cos, sin, rows, direction);
    let y = apply(x.primitive().clone(), tables.clone());
    let recomputed = Recomputed::new([x.id()], {
        let tables = tables.clone();
        move |[x]: [FloatTensor<B>; 1]| apply(x, tables.clone())
    });
    match RotaryBackward::<B>(PhantomData)
        .prepare::<BalancedCheckpointing>([x.node()])
        .memory_bound()
        .retro_forward(recomputed)
        .parents([x])
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish((tables, rows, direction), y),
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
