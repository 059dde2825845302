//! One parameter's step: by the parts of a composition in two halves, with the orthogonalization between them, or by a rule
//! of its own.

use burn::tensor::Tensor;
use evenburn_geometry::project;

use crate::fused_adam::{adam_step, plain_adam};
use crate::matrices::{joined, row_major, split};
use crate::parts::{Frame, Scaled, Shaping, Space, orthogonalize, step_on_sphere, step_to_sphere};
use crate::state::ParamState;
use crate::update::OwnUpdate;
use crate::{Composition, Rule, StepInfo, Update};

/// A direction on its way, with the magnitudes it stands beside.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) direction: Scaled,
    frame: Option<Frame>,
}

/// The first half: from the gradient times `grad_scale` to a direction that isn't shaped yet.
pub(crate) fn prepare(
    rule: &Rule,
    parts: &Composition,
    w: impl Fn() -> Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    state: &mut ParamState,
) -> Prepared {
    state.t = state.t.saturating_add(1);
    let grad = parts.gradient.of(grad, &w, rule.constraint, &parts.space);
    let Space::MagnitudeDirection(magnitudes) = &parts.space else {
        return Prepared {
            direction: parts.direction.step(grad, grad_scale, state),
            frame: None,
        };
    };
    let grad = grad.mul_scalar(grad_scale);
    let (grad, frame) = magnitudes.step(w(), grad, rate, state);
    Prepared {
        direction: parts.direction.step(grad, 1.0, state),
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

/// The whole step of one parameter by itself.
pub(crate) fn step_parameter(
    rule: &Rule,
    w: Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    state: &mut ParamState,
) -> Tensor<3> {
    if let Some(adam) = plain_adam(rule) {
        return adam_step(rule, adam, w, grad, grad_scale, rate, state);
    }
    match &rule.update {
        Update::Parts(parts) => {
            let prepared = prepare(rule, parts, || w.clone(), grad, grad_scale, rate, state);
            finish(rule, parts, w, prepared.shaped(&parts.shaping), rate, state)
        }
        Update::Own(own) => own_step(rule, own, w, grad, grad_scale, rate, state),
    }
}

/// The step of a rule of its own, projected.
fn own_step(
    rule: &Rule,
    own: &OwnUpdate,
    w: Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    state: &mut ParamState,
) -> Tensor<3> {
    if state.t == 0 {
        for (name, shape) in own.rule.init(w.dims()) {
            state.put(name, Tensor::zeros(shape, (&w.device(), w.dtype())));
        }
    }
    state.t = state.t.saturating_add(1);
    let grad = own
        .gradient
        .of(grad, || w.clone(), rule.constraint, &Space::Flat);
    let info = StepInfo {
        rate,
        weight_decay: rule.weight_decay,
        step: state.t,
    };
    let w = own.rule.step(w, grad.mul_scalar(grad_scale), state, &info);
    project(row_major(w), rule.constraint)
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
/// where a factor scales the direction by shape (as `torch.optim.Muon` does).
pub(crate) fn finish(
    rule: &Rule,
    parts: &Composition,
    w: Tensor<3>,
    prepared: Prepared,
    rate: f64,
    state: &mut ParamState,
) -> Tensor<3> {
    let Prepared { direction, frame } = prepared;
    let tensor = match parts.neurons {
        Some(neurons) => neurons.step(direction.tensor, state),
        None => direction.tensor,
    };
    let u = Scaled {
        scale: direction.scale * parts.factor(w.dims()),
        tensor,
    };
    match (&parts.space, frame) {
        (Space::Sphere, _) => step_on_sphere(w, u, rate, state),
        (_, Some(frame)) => {
            let v = step_to_sphere(frame.direction(w), u, rate, state);
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
