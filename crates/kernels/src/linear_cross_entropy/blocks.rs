//! Loss and both gradients on backends without a kernel for them: some rows of logits at a time, of plain operations.

use crate::blocks::{cast, wide};
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{Shape, Slice};
use std::marker::PhantomData;
use std::ops::Range;

/// Logits that are in memory at once, at most: 128 MiB in single precision; in tests less, so that they take several
/// blocks.
const LOGITS: usize = if cfg!(test) { 1 << 12 } else { 1 << 25 };

/// The loss, and the gradients that are asked for, of the hidden state and of the weight.
struct Computed<B: Backend> {
    loss: FloatTensor<B>,
    gradients: [Option<FloatTensor<B>>; 2],
}

/// Rows of the problem.
struct Block<B: Backend> {
    /// `[R, D]`.
    hidden: FloatTensor<B>,
    /// `[R, 1]`, negative where nothing counts.
    targets: IntTensor<B>,
}

impl<B: Backend> Block<B> {
    fn new(hidden: &FloatTensor<B>, targets: &IntTensor<B>, rows: Range<usize>) -> Self {
        let count = rows.len();
        let targets = B::int_slice(targets.clone(), &[Slice::from(rows.clone())]);
        Self {
            hidden: B::float_slice(hidden.clone(), &[Slice::from(rows)]),
            targets: B::int_reshape(targets, Shape::new([count, 1])),
        }
    }

    /// The summed loss, `[1]`, and with `gradient` that of the logits, `[R, V]`, in the format of the hidden state.
    fn loss(
        &self,
        weight: &FloatTensor<B>,
        gradient: bool,
    ) -> (FloatTensor<B>, Option<FloatTensor<B>>) {
        let dtype = self.hidden.dtype();
        let flags = get_or_init_device_settings::<B>(&self.hidden.device()).bool_dtype;
        let ignored = B::int_lower_elem(self.targets.clone(), 0.into(), flags);
        let logits = B::float_matmul(self.hidden.clone(), weight.clone());
        let logits = cast::<B>(logits, wide(dtype));
        let shape = logits.shape();
        // Comparisons are fused with what reads them; gathering and scattering would be passes of their own.
        let device = self.targets.device();
        let classes = B::int_arange(0..shape[1] as i64, &device, self.targets.dtype().into());
        let classes = B::int_reshape(classes, Shape::new([1, shape[1]]));
        let other = B::int_not_equal(
            B::int_expand(classes, shape.clone()),
            B::int_expand(self.targets.clone(), shape.clone()),
            flags,
        );
        let largest = B::float_max_dim(logits.clone(), 1);
        let shifted = B::float_sub(logits, largest);
        let target = B::float_mask_fill(shifted.clone(), other.clone(), 0.0.into());
        let target = B::float_sum_dim(target, 1);
        let powers = B::float_exp(shifted);
        let sum = B::float_sum_dim(powers.clone(), 1);
        let losses = B::float_sub(B::float_log(sum.clone()), target);
        let losses = B::float_mask_fill(losses, ignored.clone(), 0.0.into());
        let loss = B::float_sum(losses);
        let dlogits = gradient.then(|| {
            let own = B::bool_into_float(B::bool_not(other), wide(dtype));
            let dlogits = B::float_sub(B::float_div(powers, sum), own);
            let ignored = B::bool_expand(ignored, shape);
            let dlogits = B::float_mask_fill(dlogits, ignored, 0.0.into());
            cast::<B>(dlogits, dtype.into())
        });
        (loss, dlogits)
    }
}

fn compute<B: Backend>(
    hidden: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    targets: &IntTensor<B>,
    wanted: [bool; 2],
) -> Computed<B> {
    let (n, v) = (hidden.shape()[0], weight.shape()[1]);
    let (device, dtype) = (hidden.device(), hidden.dtype());
    // Summed in more digits than half precision has.
    let zeros = |shape| B::float_zeros(shape, &device, wide(dtype));
    let mut loss = zeros(Shape::new([1]));
    let mut dhidden = wanted[0].then(Vec::new);
    let mut dweight = wanted[1].then(|| zeros(weight.shape()));
    let step = (LOGITS / v).max(1);
    for first in (0..n).step_by(step) {
        let block = Block::<B>::new(hidden, targets, first..n.min(first + step));
        let (part, dlogits) = block.loss(weight, wanted[0] || wanted[1]);
        loss = B::float_add(loss, part);
        let Some(dlogits) = dlogits else { continue };
        if let Some(dhidden) = &mut dhidden {
            let part = B::float_matmul(dlogits.clone(), B::float_transpose(weight.clone()));
            dhidden.push(part);
        }
        if let Some(sum) = dweight.take() {
            let part = B::float_matmul(B::float_transpose(block.hidden), dlogits);
            dweight = Some(B::float_add(sum, cast::<B>(part, wide(dtype))));
        }
    }
    Computed {
        loss,
        gradients: [
            dhidden.map(|parts| B::float_cat(parts, 0)),
            dweight.map(|dweight| cast::<B>(dweight, dtype.into())),
        ],
    }
}

pub(crate) fn forward<B: Backend>(
    hidden: &FloatTensor<B>,
    weight: &FloatTensor<B>,
    targets: &IntTensor<B>,
) -> FloatTensor<B> {
    compute::<B>(hidden, weight, targets, [false; 2]).loss
}

#[derive(Debug)]
struct LinearCrossEntropyBackward<B>(PhantomData<B>);

impl<B: Backend> Backward<B, 2> for LinearCrossEntropyBackward<B> {
    /// The gradients of a sum with weight 1.
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dloss = grads.consume::<B>(&ops.node);
        let dloss = B::float_reshape(dloss, Shape::new([1, 1]));
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                let factor = cast::<B>(dloss.clone(), gradient.dtype().into());
                grads.register::<B>(node.id, B::float_mul(gradient, factor));
            }
        }
    }
}

pub(crate) fn tracked<B: Backend, C: CheckpointStrategy>(
    hidden: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    targets: &IntTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    let wanted = [hidden.is_tracked(), weight.is_tracked()];
    let nodes = [hidden.node(), weight.node()];
    let (hidden, weight) = (hidden.into_primitive(), weight.into_primitive());
    let computed = compute::<B>(&hidden, &weight, targets, wanted);
    match LinearCrossEntropyBackward::<B>(PhantomData)
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => prep.finish(computed.gradients, computed.loss),
        OpsKind::UnTracked(prep) => prep.finish(computed.loss),
    }
}
