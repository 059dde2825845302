//! AdamW (Loshchilov and Hutter, 1711.05101): Adam, and weights that shrink by a part of their own.
//!
//! ```text
//! w <- (1 - lr weight_decay) w - lr m^ / (sqrt(v^) + eps)
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};

/// Adam for every parameter, with decoupled weight decay of those that the scheme decays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {}

impl RecipeOptions for AdamW {
    const NAME: &'static str = "adamw";
    const ABOUT: &'static str = "Adam with decoupled weight decay (1711.05101).";
}

impl OptimizerStrategy for AdamW {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        param.adamw()
    }
}
