//! One parameter's step, in two halves with the orthogonalization between them.

use burn::tensor::Tensor;
use evenburn_geometry::project;

use crate::Rule;
use crate::matrices::{joined, split};
use crate::parts::{Frame, Scaled, Shaping, Space, orthogonalize, step_on_sphere, step_to_sphere};
use crate::slot::Slot;
use crate::whole::{adam_step, plain_adam};

/// A direction on its way, with the magnitudes it stands beside.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) direction: Scaled,
    frame: Option<Frame>,
}

/// The first half: from the gradient times `grad_scale` to a direction that isn't shaped yet.
pub(crate) fn prepare(
    rule: &Rule,
    w: impl Fn() -> Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    slot: &mut Slot,
) -> Prepared {
    slot.t = slot.t.saturating_add(1);
    let recipe = &rule.recipe;
    let grad = recipe.gradient.of(grad, &w, rule.constraint, &recipe.space);
    let Space::MagnitudeDirection(magnitudes) = &recipe.space else {
        return Prepared {
            direction: recipe.direction.step(grad, grad_scale, slot),
            frame: None,
        };
    };
    let grad = grad.mul_scalar(grad_scale);
    let (grad, frame) = magnitudes.step(w(), grad, rate, slot);
    Prepared {
        direction: recipe.direction.step(grad, 1.0, slot),
        frame: Some(frame),
    }
}

/// The matrices of a direction that are orthogonalized, each by itself.
pub(crate) fn matrices(direction: Tensor<3>, heads: usize) -> Tensor<3> {
    match heads {
        1 => direction,
        heads => split(direction, heads),
    }
}

/// The inverse of [`matrices`].
pub(crate) fn from_matrices(direction: Tensor<3>, heads: usize) -> Tensor<3> {
    match heads {
        1 => direction,
        heads => joined(direction, heads),
    }
}

/// A whole step, for whoever has no other matrices to orthogonalize with this one.
pub(crate) fn alone(
    rule: &Rule,
    w: Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    slot: &mut Slot,
) -> Tensor<3> {
    if let Some(adam) = plain_adam(rule) {
        return adam_step(rule, adam, w, grad, grad_scale, rate, slot);
    }
    let prepared = prepare(rule, || w.clone(), grad, grad_scale, rate, slot);
    finish(rule, w, prepared.shaped(&rule.recipe.shaping), rate, slot)
}

impl Prepared {
    fn shaped(mut self, shaping: &Shaping) -> Self {
        self.direction = match shaping {
            Shaping::None => return self,
            Shaping::Sign => Scaled {
                tensor: self.direction.tensor.sign(),
                scale: 1.0,
            },
            Shaping::Orthogonal(how) => {
                let whole = orthogonalize(matrices(self.direction.tensor, how.heads), how);
                Scaled {
                    tensor: from_matrices(whole, how.heads),
                    scale: 1.0,
                }
            }
        };
        self
    }
}

/// The second half: from a shaped direction to the weight after the step.
///
/// The decay is decoupled (Loshchilov and Hutter, arXiv 1711.05101) and uses the plain rate, also
/// where the recipe scales its direction by shape (as `torch.optim.Muon` does).
pub(crate) fn finish(
    rule: &Rule,
    w: Tensor<3>,
    prepared: Prepared,
    rate: f64,
    slot: &mut Slot,
) -> Tensor<3> {
    let Prepared { direction, frame } = prepared;
    let recipe = &rule.recipe;
    let tensor = match recipe.neurons {
        Some(neurons) => neurons.step(direction.tensor, slot),
        None => direction.tensor,
    };
    let u = Scaled {
        scale: direction.scale * recipe.factor(w.dims()),
        tensor,
    };
    match (&recipe.space, frame) {
        (Space::Sphere, _) => step_on_sphere(w, u, rate, slot),
        (_, Some(frame)) => {
            let v = step_to_sphere(frame.direction(w), u, rate, slot);
            frame.weight(v)
        }
        (_, None) => {
            let w = match rule.weight_decay {
                0.0 => w,
                decay => w.mul_scalar(1.0 - rate * decay),
            };
            let step = u.tensor.mul_scalar(rate * u.scale);
            project(w.sub(step), rule.constraint)
        }
    }
}
