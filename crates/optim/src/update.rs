//! What every recipe ends in: decay, the step along a direction, the projection.

use burn::tensor::Tensor;
use evenburn_geometry::{Constraint, project};

/// Where to go: `scale * tensor`, before the rate.
#[derive(Debug, Clone)]
pub(crate) struct Direction<const D: usize> {
    pub(crate) tensor: Tensor<D>,
    pub(crate) scale: f64,
}

/// `w <- project((1 - lr weight_decay) w - lr direction)`.
///
/// The decay is decoupled (Loshchilov and Hutter, arXiv 1711.05101) and uses the plain rate, also
/// where the recipe scales its direction by shape (as `torch.optim.Muon` does).
pub(crate) fn apply<const D: usize>(
    w: Tensor<D>,
    direction: Direction<D>,
    lr: f64,
    weight_decay: f64,
    constraint: Constraint,
) -> Tensor<D> {
    let w = if weight_decay == 0.0 {
        w
    } else {
        w.mul_scalar(1.0 - lr * weight_decay)
    };
    let step = direction.tensor.mul_scalar(lr * direction.scale);
    project(w.sub(step), constraint)
}
