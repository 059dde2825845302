//! How one parameter is trained.

use evenburn_geometry::Constraint;

use crate::{OptimError, Space, Update};

/// How one parameter is trained.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name of the group in reports, such as `matrices`.
    pub group: String,
    /// How its gradient becomes a step.
    pub update: Update,
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
        for (what, value) in [("rate", self.lr), ("weight decay", self.weight_decay)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(error(format!("the {what} is {value}")));
            }
        }
        self.update.check(shape).map_err(error)?;
        let parts = self.update.composition();
        if parts.is_some_and(|parts| parts.space != Space::Flat) {
            if self.weight_decay != 0.0 {
                let decay = self.weight_decay;
                let why = "its recipe keeps the norm, which a weight decay of";
                return Err(error(format!("{why} {decay} would change")));
            }
            if self.constraint != Constraint::Free {
                let constraint = self.constraint;
                let why = "its recipe keeps it on a sphere, and its constraint is";
                let way = "a group of `optim.groups` with `constraint = \"free\"` leaves it to the recipe";
                return Err(error(format!("{why} {constraint}; {way}")));
            }
        }
        self.constraint
            .check(shape.len())
            .map_err(|source| OptimError::Constraint {
                parameter: parameter.to_owned(),
                source,
            })
    }
}
