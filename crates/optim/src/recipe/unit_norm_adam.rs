//! What nGPT (2410.01131) trains with: Adam, and vectors along the residual stream that are normalized after each step.

use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};

/// Adam without weight decay; where the scheme leaves a matrix free, its vectors along the stream have length 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UnitNormAdam {}

impl RecipeOptions for UnitNormAdam {
    const NAME: &'static str = "unit_norm_adam";
    const ABOUT: &'static str = "Adam, and vectors of matrices along the stream of length 1 after each step (nGPT, 2410.01131).";
}

impl OptimizerStrategy for UnitNormAdam {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        if param.role().is_vector() {
            return param.plain_adam();
        }
        param.plain_adam().confined(Constraint::Unit {
            along: param.info().stream,
        })
    }
}
