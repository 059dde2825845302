//! Steps that are one pass over memory.

use burn::tensor::Tensor;
use evenburn_geometry::{Axis, Constraint};
use evenburn_kernels::{AdamStep, Bound, Slices, adam};

use crate::parts::{Adam, Direction};
use crate::slot::Slot;
use crate::{Recipe, Rule};

/// Adam's numbers, where a rule is nothing but Adam with a decay and a projection of single slices.
pub(crate) fn plain_adam(rule: &Rule) -> Option<(Adam, Bound)> {
    let Direction::Adam(adam) = rule.recipe.direction else {
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
    (rule.recipe == Recipe::adam(adam)).then_some((adam, bound))
}

/// The whole step of such a rule: what the parts do one after another, at once.
pub(crate) fn adam_step(
    rule: &Rule,
    (adam_of, bound): (Adam, Bound),
    w: Tensor<3>,
    grad: Tensor<3>,
    grad_scale: f64,
    rate: f64,
    slot: &mut Slot,
) -> Tensor<3> {
    slot.t = slot.t.saturating_add(1);
    let mean = |slot: &mut Slot, name| slot.take(name).unwrap_or_else(|| grad.zeros_like());
    let (m, v) = (mean(slot, "m"), mean(slot, "v"));
    let step = AdamStep {
        beta1: adam_of.beta1,
        beta2: adam_of.beta2,
        eps: adam_of.eps,
        t: slot.t,
        grad_scale,
        rate,
        keep: 1.0 - rate * rule.weight_decay,
        bound,
    };
    let [w, m, v] = adam(w, grad, m, v, &step);
    slot.put("m", m);
    slot.put("v", v);
    w
}
