//! Adam-mini (Zhang et al., 2406.16793): Adam with one mean square for each block of entries, half of Adam's state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::{AdamMini, Composition};

/// Adam-mini for every parameter. What shares a mean square is a head in q and k, an output in other linear maps, a token's
/// vector in the embedding, and all of a vector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamMiniRecipe {}

impl RecipeOptions for AdamMiniRecipe {
    const NAME: &'static str = "adam_mini";
    const ABOUT: &'static str =
        "Adam with one mean square per head, output, or vector of the embedding (2406.16793).";
}

impl OptimizerStrategy for AdamMiniRecipe {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        let mini = AdamMini {
            adam: param.adam(),
            blocks: param.info().blocks(),
        };
        param.decayed(Composition::adam_mini(mini), param.lr())
    }
}
