//! How one parameter is trained.

use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Adam, Muon, OptimError, Recipe, muon};

/// How one parameter is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name of the group in reports, such as `matrices`.
    pub group: String,
    /// How its gradient becomes a direction.
    pub recipe: Recipe,
    /// Peak learning rate; the schedule's factor multiplies it.
    pub lr: f64,
    /// Decoupled weight decay: each step multiplies the parameter by `1 - rate * weight_decay`.
    pub weight_decay: f64,
    /// What the parameter is projected onto after each step.
    pub constraint: Constraint,
}

impl Rule {
    /// Whether this rule can train a parameter of this shape.
    pub(crate) fn check(&self, parameter: &str, shape: &[usize]) -> Result<(), OptimError> {
        let error = |reason: String| OptimError::Rule {
            parameter: parameter.to_owned(),
            reason,
        };
        if !(self.lr.is_finite() && self.lr >= 0.0) {
            return Err(error(format!("the rate is {}", self.lr)));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(error(format!("the weight decay is {}", self.weight_decay)));
        }
        match &self.recipe {
            Recipe::Adam(_) if self.weight_decay != 0.0 => Err(format!(
                "adam has no weight decay, and the rule asks for {}: use adamw",
                self.weight_decay
            )),
            Recipe::AdamW(adam) | Recipe::Adam(adam) => check_adam(adam),
            Recipe::Muon(_) if muon::as_matrices(shape).is_none() => {
                Err(format!("muon trains matrices, and its shape is {shape:?}"))
            }
            Recipe::Muon(muon) => check_muon(muon),
        }
        .map_err(error)?;
        self.constraint
            .check(shape.len())
            .map_err(|source| OptimError::Constraint {
                parameter: parameter.to_owned(),
                source,
            })
    }
}

fn check_adam(adam: &Adam) -> Result<(), String> {
    for (name, beta) in [("beta1", adam.beta1), ("beta2", adam.beta2)] {
        if !(0.0..1.0).contains(&beta) {
            return Err(format!("{name} must be in [0, 1), not {beta}"));
        }
    }
    check_eps(adam.eps)
}

fn check_muon(muon: &Muon) -> Result<(), String> {
    if !(0.0..1.0).contains(&muon.momentum) {
        let momentum = muon.momentum;
        return Err(format!("momentum must be in [0, 1), not {momentum}"));
    }
    check_eps(muon.eps)
}

fn check_eps(eps: f64) -> Result<(), String> {
    if eps.is_finite() && eps > 0.0 {
        return Ok(());
    }
    Err(format!("eps must be positive and finite, not {eps}"))
}
