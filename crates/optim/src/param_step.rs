//! One parameter's step: by the parts of a composition in two halves, with the orthogonalization between them, or by a rule
//! of its own.

use burn::tensor::{DType, Tensor};
use evenburn_geometry::project;

use crate::fused_adam::{adam_step, plain_adam};
use crate::matrices::{joined, row_major, split};
use crate::parameters::describe;
use crate::parts::{Frame, Scaled, Shaping, Space, orthogonalize, step_on_sphere, step_to_sphere};
use crate::state::ParamState;
use crate::update::OwnUpdate;
use crate::{Composition, Rule, StepInfo};

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

/// The whole step of one parameter by itself, by the parts of its rule.
pub(crate) fn step_by_parts(
    rule: &Rule,
    parts: &Composition,
    w: Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    state: &mut ParamState,
) -> Tensor<3> {
    if let Some(adam) = plain_adam(rule) {
        return adam_step(rule, adam, w, grad, grad_scale, rate, state);
    }
    let prepared = prepare(rule, parts, || w.clone(), grad, grad_scale, rate, state);
    finish(rule, parts, w, prepared.shaped(&parts.shaping), rate, state)
}

/// The step of a rule of its own, projected; in words, why there is none.
pub(crate) fn step_by_own_rule(
    rule: &Rule,
    own: &OwnUpdate,
    w: Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    state: &mut ParamState,
) -> Result<Tensor<3>, String> {
    let (shape, dtype) = (w.dims(), w.dtype());
    let kept = own.rule.init(shape);
    if state.t == 0 {
        for (name, shape) in &kept {
            state.put(name, Tensor::zeros(*shape, (&w.device(), dtype)));
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
    let w = own
        .rule
        .step(w, grad.mul_scalar(grad_scale), state, &info)
        .map_err(|error| error.to_string())?;
    same_form("the weights", &w, shape, dtype)?;
    for (name, shape) in kept {
        same_form(&format!("state `{name}`"), &state.get(name), shape, dtype)?;
    }
    Ok(project(row_major(w), rule.constraint))
}

/// Whether a tensor that an update rule gives back has the shape and the number format that it must have.
fn same_form(what: &str, found: &Tensor<3>, shape: [usize; 3], dtype: DType) -> Result<(), String> {
    if found.dims() == shape && found.dtype() == dtype {
        return Ok(());
    }
    Err(format!(
        "{what} came back as {}, not {}",
        describe(&found.dims(), found.dtype()),
        describe(&shape, dtype)
    ))
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
