//! Loss and both gradients, some rows of logits at a time.

use crate::Precision;
use crate::flex::extension::Fused;
use crate::flex::logits::for_chunks_of_logits;
use crate::flex::matrix::{Into, Matrix, MatrixMut, product_parallel};
use crate::flex::simd::{exp_and_sum, largest, simd};
use crate::flex::weight::Weight;
use crate::flex::{assert_ids, buffer, contiguous, integers, scaled, shape, tensor, values};
use crate::profile::{Pass, Work, span};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex};
use burn::tensor::{Int, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    precision: Precision,
) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::fused_linear_cross_entropy(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        targets.into_dispatch(),
        precision,
    ))
}

simd! {
    /// The row's loss; with `gradient`, the row becomes `softmax(row) - onehot(target)`.
    fn row_loss(row: &mut [f32], target: usize, gradient: bool) -> f32 {
        let shift = largest(row);
        let at_target = row[target];
        let sum = exp_and_sum(row, shift);
        if gradient {
            let factor = 1.0 / sum;
            for x in row.iter_mut() {
                *x *= factor;
            }
            row[target] -= 1.0;
        }
        shift - at_target + sum.ln()
    }
}

/// The loss, and the gradients that are asked for, of the hidden state and of the weight.
struct Computed {
    loss: FlexTensor,
    hidden: Option<FlexTensor>,
    weight: Option<FlexTensor>,
}

fn compute(
    hidden: FlexTensor,
    weight: FlexTensor,
    targets: FlexTensor,
    precision: Precision,
    wanted: [bool; 2],
) -> Computed {
    let hidden = contiguous(hidden);
    let mut weight = Weight::new(weight);
    let targets = integers(targets);
    let (n, [d, v]) = (targets.len(), weight.shape());
    assert_ids("target", &targets, v, i64::MIN);
    let _span = span(|| {
        let products = 1 + wanted.into_iter().filter(|&wanted| wanted).count();
        Work {
            operation: "linear_cross_entropy",
            pass: Pass::Forward,
            shape: vec![n, d, v],
            multiplications: products * n * d * v,
            // The logits stay in a cache, chunk by chunk.
            numbers: products * (n * d + d * v),
        }
    });
    weight.prepare_forward(n);
    let mut dhidden = wanted[0].then(|| buffer(n * d));
    let mut dweight = wanted[1].then(|| buffer(d * v));
    let mut loss = 0.0f64;
    let h = Matrix::new(values(&hidden), d);
    for_chunks_of_logits(h, &weight, precision, |rows, h, logits| {
        let losses: Vec<f32> = logits
            .par_chunks_mut(v)
            .zip(&targets[rows.clone()])
            .map(|(row, &target)| {
                if target < 0 {
                    row.fill(0.0);
                    0.0
                } else {
                    row_loss(row, target as usize, wanted[0] || wanted[1])
                }
            })
            .collect();
        loss += losses.iter().map(|&x| f64::from(x)).sum::<f64>();
        let dlogits = Matrix::new(logits, v);
        if let Some(dhidden) = &mut dhidden {
            let dhidden = &mut dhidden[rows.start * d..rows.end * d];
            let dhidden = MatrixMut::new(dhidden, d);
            let factors = [dlogits, weight.backward()];
            product_parallel(dhidden, Into::Replace, 1.0, factors, precision);
        }
        if let Some(dweight) = &mut dweight {
            let first = rows.start == 0;
            let into = if first { Into::Replace } else { Into::Add };
            weight.accumulate(dweight, into, 1.0, [h, dlogits], precision);
        }
    });
    Computed {
        loss: tensor(vec![loss as f32], [1]),
        hidden: dhidden.map(|values| tensor(values, shape(&hidden))),
        weight: dweight.map(|values| weight.gradient(values)),
    }
}

pub(crate) fn forward(
    hidden: FlexTensor,
    weight: FlexTensor,
    targets: FlexTensor,
    precision: Precision,
) -> FlexTensor {
    compute(hidden, weight, targets, precision, [false; 2]).loss
}

#[derive(Debug)]
struct LinearCrossEntropyBackward;

impl Backward<Flex, 2> for LinearCrossEntropyBackward {
    /// The gradients of a sum with weight 1.
    type State = [Option<FlexTensor>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dloss = contiguous(grads.consume::<Flex>(&ops.node));
        let factor = values(&dloss)[0];
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, scaled(gradient, factor));
            }
        }
    }
}

pub(crate) fn tracked<C: CheckpointStrategy>(
    hidden: FloatTensor<Autodiff<Flex, C>>,
    weight: FloatTensor<Autodiff<Flex, C>>,
    targets: FlexTensor,
    precision: Precision,
) -> FloatTensor<Autodiff<Flex, C>> {
    let wanted = [hidden.is_tracked(), weight.is_tracked()];
    let nodes = [hidden.node(), weight.node()];
    let (hidden, weight) = (hidden.into_primitive(), weight.into_primitive());
    let computed = compute(hidden, weight, targets, precision, wanted);
    match LinearCrossEntropyBackward
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish([computed.hidden, computed.weight], computed.loss),
        OpsKind::UnTracked(prep) => prep.finish(computed.loss),
    }
}
