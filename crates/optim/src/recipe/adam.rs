//! Adam (Kingma and Ba, 1412.6980); its formula stands at the part of its name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};

/// Adam for every parameter; `weight_decay` is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamRecipe {}

impl RecipeOptions for AdamRecipe {
    const NAME: &'static str = "adam";
    const ABOUT: &'static str = "Adam without weight decay (1412.6980).";
}

impl OptimizerStrategy for AdamRecipe {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        param.plain_adam()
    }
}
