//! What anGPT (2505.22014) trains with: Adam, and rows that are projected into the unit ball after each step.

use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};

/// Adam without weight decay; where the scheme leaves a matrix free, its rows (what makes one output, or a token's vector)
/// stay at most as long as 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NormConstrainedAdam {}

impl RecipeOptions for NormConstrainedAdam {
    const NAME: &'static str = "norm_constrained_adam";
    const ABOUT: &'static str =
        "Adam, and rows of matrices of length at most 1 after each step (anGPT, 2505.22014).";
}

impl OptimizerStrategy for NormConstrainedAdam {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        if param.role().is_vector() {
            return param.plain_adam();
        }
        param.plain_adam().confined(Constraint::AtMost {
            along: param.info().row(),
            radius: 1.0,
        })
    }
}
