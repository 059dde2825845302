//! Everything that can be wrong with the input of this crate.

use evenburn_geometry::GeometryError;
use thiserror::Error;

use crate::ScheduleError;

/// A fault in the rules, the gradients, the saved state or the configuration.
///
/// Whatever returns it has changed nothing, but for [`Update`](Self::Update).
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum OptimError {
    /// Parameters and rules don't match one to one.
    #[error("{}", describe(&[("parameters without a rule", unclaimed), ("rules without a parameter", unmatched)]))]
    RuleMismatch {
        /// Paths of parameters that have no rule.
        unclaimed: Vec<String>,
        /// Paths of rules that have no parameter.
        unmatched: Vec<String>,
    },
    /// A rule that can't train its parameter.
    #[error("`{parameter}` can't be trained by its rule: {reason}")]
    Rule {
        /// Path of the parameter.
        parameter: String,
        /// What is wrong.
        reason: String,
    },
    /// An update rule whose step failed. Parameters before this one are stepped by then, so the engine can't go on.
    #[error("step {step}: the update of `{parameter}` failed: {reason}")]
    Update {
        /// The step, from 0.
        step: u64,
        /// Path of the parameter.
        parameter: String,
        /// What is wrong.
        reason: String,
    },
    /// A constraint that its parameter can't have.
    #[error("`{parameter}` can't be constrained by its rule")]
    Constraint {
        /// Path of the parameter.
        parameter: String,
        /// What is wrong.
        source: GeometryError,
    },
    /// One parameter sits at two places of the module, so one gradient would be applied to two
    /// copies that then differ.
    #[error("`{first}` and `{second}` are one parameter: a tied weight must have one owner")]
    SharedParameter {
        /// Its first path.
        first: String,
        /// Its second path.
        second: String,
    },
    /// Parameters that require a gradient have none.
    #[error("step {step}: {}", describe(&[("parameters without a gradient", parameters)]))]
    MissingGradient {
        /// The step, from 0.
        step: u64,
        /// Their paths.
        parameters: Vec<String>,
    },
    /// A gradient of another shape or dtype than its parameter.
    #[error("step {step}: the gradient of `{parameter}` is {found}, its parameter {expected}")]
    GradientMismatch {
        /// The step, from 0.
        step: u64,
        /// Path of the parameter.
        parameter: String,
        /// Shape and dtype of the parameter.
        expected: String,
        /// Shape and dtype of the gradient.
        found: String,
    },
    /// A gradient's norm is infinite or not a number.
    #[error("step {step}: the gradient of `{parameter}` is not finite")]
    NonFiniteGradient {
        /// The step, from 0.
        step: u64,
        /// Path of the first such parameter in visiting order.
        parameter: String,
    },
    /// The schedule's factor is negative or not finite.
    #[error("step {step}: the schedule's factor is {factor}")]
    Factor {
        /// The step, from 0.
        step: u64,
        /// The factor given.
        factor: f64,
    },
    /// Saved state that doesn't fit the rules and the module.
    #[error("the optimizer state doesn't fit: {}", describe(&[("missing", missing), ("unexpected", unexpected)]))]
    StateMismatch {
        /// Names that should be there.
        missing: Vec<String>,
        /// Names that should not.
        unexpected: Vec<String>,
    },
    /// A saved tensor of another shape or dtype than its parameter, or a count without meaning.
    #[error("optimizer state `{name}` is {found}, not {expected}")]
    StateShape {
        /// The name.
        name: String,
        /// Shape and dtype of the parameter.
        expected: String,
        /// What was saved.
        found: String,
    },
    /// A configured value that makes no sense.
    #[error("optim.{key}: {reason}")]
    Config {
        /// The key in section `[optim]`.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A recipe that is to make rules and that the program doesn't know.
    #[error("the optimizer recipe `{recipe}` {why}")]
    UnknownRecipe {
        /// Its name.
        recipe: String,
        /// What is known of it.
        why: String,
    },
    /// A name of a recipe that is taken.
    #[error("the recipe `{recipe}` is registered twice")]
    RecipeTwice {
        /// The name.
        recipe: String,
    },
    /// Options that a configuration couldn't hold, or that the recipe doesn't have.
    #[error("the recipe `{recipe}`: {why}")]
    RecipeOptions {
        /// Its name.
        recipe: String,
        /// What is wrong.
        why: String,
    },
    /// Two parameters of one path.
    #[error("`{path}` is claimed twice")]
    DuplicateParameter {
        /// The path.
        path: String,
    },
    /// A schedule that doesn't fit the run.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
}

impl OptimError {
    /// A value of section `[optim]` that makes no sense.
    pub fn config(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

fn describe(lists: &[(&str, &Vec<String>)]) -> String {
    lists
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", names.join(", ")))
        .collect::<Vec<_>>()
        .join("; ")
}
