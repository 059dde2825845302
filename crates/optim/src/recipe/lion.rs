//! Lion (Chen et al., 2302.06675): steps of one size in every entry, by the sign of a momentum.
//!
//! ```text
//! w <- (1 - lr weight_decay) w - lr sign(beta1 m + (1 - beta1) g),   m <- beta2 m + (1 - beta2) g
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_decay;
use crate::{Composition, Lion, OptimError};

/// Lion for every parameter; `beta1`, `beta2` and `eps` are Adam's and have no part in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LionRecipe {
    /// Share of the mean in what `lion` takes the sign of.
    pub lion_beta1: f64,
    /// Decay of the mean of gradients in `lion`.
    pub lion_beta2: f64,
}

impl Default for LionRecipe {
    fn default() -> Self {
        let lion = Lion::default();
        Self {
            lion_beta1: lion.beta1,
            lion_beta2: lion.beta2,
        }
    }
}

impl RecipeOptions for LionRecipe {
    const NAME: &'static str = "lion";
    const ABOUT: &'static str = "Signs of momentum (2302.06675).";
}

impl OptimizerStrategy for LionRecipe {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        let lion = Lion {
            beta1: self.lion_beta1,
            beta2: self.lion_beta2,
        };
        param.decayed(Composition::lion(lion), param.lr())
    }

    fn check(&self) -> Result<(), OptimError> {
        check_decay("lion_beta1", self.lion_beta1)?;
        check_decay("lion_beta2", self.lion_beta2)
    }
}
