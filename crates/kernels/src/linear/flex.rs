//! The product and its two gradients, one block of the result per task.

use crate::Precision;
use crate::flex::extension::Fused;
use crate::flex::matrix::{Into, Matrix, MatrixMut, product_parallel};
use crate::flex::weight::Weight;
use crate::flex::{buffer, contiguous, shape, tensor, values};
use crate::profile::{Pass, Work, span};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;

pub(super) fn dispatch<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    factor: f64,
    precision: Precision,
) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fused_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        factor as f32,
        precision,
    ))
}

/// So many products of three matrices with these sizes.
fn work(pass: Pass, products: usize, [rows, input, output]: [usize; 3]) -> Work {
    Work {
        operation: "linear",
        pass,
        shape: vec![rows, input, output],
        multiplications: products * rows * input * output,
        numbers: products * (rows * (input + output) + input * output),
    }
}

/// The shape of as many rows of another width.
fn with_width(mut shape: Shape, width: usize) -> Shape {
    let last = shape.num_dims() - 1;
    shape[last] = width;
    shape
}

/// `x` must be contiguous.
fn compute(x: &FlexTensor, weight: FlexTensor, factor: f32, precision: Precision) -> FlexTensor {
    let mut weight = Weight::new(weight);
    let [input, output] = weight.shape();
    let shape = shape(x);
    let x = Matrix::new(values(x), input);
    let _span = span(|| work(Pass::Forward, 1, [x.rows(), input, output]));
    weight.prepare_forward(x.rows());
    let mut y = buffer(x.rows() * output);
    let into = MatrixMut::new(&mut y, output);
    let factors = [x, weight.forward()];
    product_parallel(into, Into::Replace, factor, factors, precision);
    tensor(y, with_width(shape, output))
}

pub(crate) fn forward(
    x: FlexTensor,
    weight: FlexTensor,
    factor: f32,
    precision: Precision,
) -> FlexTensor {
    compute(&contiguous(x), weight, factor, precision)
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 2> for LinearBackward {
    /// The rows, where the weight is tracked, the weight, the factor, and the precision.
    type State = (Option<NodeId>, FlexTensor, f32, Precision);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, graph: &mut Checkpointer) {
        let dy = contiguous(grads.consume::<Flex>(&ops.node));
        let (x, weight, factor, precision) = ops.state;
        let shape = shape(&dy);
        let mut weight = Weight::new(weight);
        let [input, output] = weight.shape();
        let dy = Matrix::new(values(&dy), output);
        let [to_x, to_weight] = ops.parents;
        let products = usize::from(to_x.is_some()) + usize::from(to_weight.is_some());
        let _span = span(|| work(Pass::Backward, products, [dy.rows(), input, output]));
        if let Some(node) = to_x {
            weight.prepare_backward(dy.rows());
            let mut dx = buffer(dy.rows() * input);
            let into = MatrixMut::new(&mut dx, input);
            let factors = [dy, weight.backward()];
            product_parallel(into, Into::Replace, factor, factors, precision);
            grads.register::<Flex>(node.id, tensor(dx, with_width(shape, input)));
        }
        if let (Some(node), Some(x)) = (to_weight, x) {
            let x = contiguous(graph.retrieve_node_output(x));
            let mut dw = buffer(input * output);
            let x = Matrix::new(values(&x), input);
            weight.accumulate(&mut dw, Into::Replace, factor, [x, dy], precision);
            grads.register::<Flex>(node.id, weight.gradient(dw));
        }
    }
}

pub(crate) fn tracked<C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<Flex, C>>,
    weight: FloatTensor<Autodiff<Flex, C>>,
    factor: f32,
    precision: Precision,
) -> FloatTensor<Autodiff<Flex, C>> {
    let learns = weight.is_tracked();
    let nodes = [x.node(), weight.node()];
    let weight = weight.into_primitive();
    let y = forward(x.primitive().clone(), weight.clone(), factor, precision);
    match LinearBackward
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(mut prep) => {
            let x = learns.then(|| prep.checkpoint(x));
            prep.finish((x, weight, factor, precision), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}
