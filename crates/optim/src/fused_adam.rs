//! Adam's whole step in one pass over memory.

use burn::tensor::Tensor;
use evenburn_geometry::{Axis, Constraint};
use evenburn_kernels::{AdamStep, Bound, Slices, adam};

use crate::parts::{Adam, Direction};
use crate::state::ParamState;
use crate::{Composition, Rule};

/// Adam's numbers, where a rule is nothing but Adam with a decay and a projection of single slices.
pub(crate) fn plain_adam(rule: &Rule) -> Option<(Adam, Bound)> {
    let parts = rule.update.composition()?;
    let Direction::Adam(adam) = parts.direction else {
        return None;
    };
    let slices = |along| match along {
        Axis::In => Slices::Columns,
        Axis::Out => Slices::Rows,
    };
    let bound = match rule.constraint {
        Constraint::Free => Bound::Free,
        Constraint::AtMost { along, radius } => Bound::Ball(slices(along), radius),
        Constraint::Unit { along } => Bound::Sphere(slices(along)),
        Constraint::Frobenius { .. } => return None,
    };
    (*parts == Composition::adam(adam)).then_some((adam, bound))
}

/// The whole step of such a rule: what the parts do one after another, at once.
pub(crate) fn adam_step(
    rule: &Rule,
    (adam_of, bound): (Adam, Bound),
    w: Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    state: &mut ParamState,
) -> Tensor<3> {
    state.t = state.t.saturating_add(1);
    let mean = |state: &mut ParamState, name| state.take(name).unwrap_or_else(|| grad.zeros_like());
    let (m, v) = (mean(state, "m"), mean(state, "v"));
    let step = AdamStep {
        beta1: adam_of.beta1,
        beta2: adam_of.beta2,
        eps: adam_of.eps,
        t: state.t,
        grad_scale,
        rate,
        keep: 1.0 - rate * rule.weight_decay,
        bound,
    };
    let [w, m, v] = adam(w, grad, m, v, &step);
    state.put("m", m);
    state.put("v", v);
    w
}
