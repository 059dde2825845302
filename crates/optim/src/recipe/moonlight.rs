//! Moonlight's Muon (Liu et al., 2502.16982): a sum of gradients, and steps of the root mean square that `AdamW`'s have, so
//! that one rate and one weight decay fit all parameters.
//!
//! ```text
//! m <- beta m + g,   W <- (1 - lr weight_decay) W - lr 0.2 sqrt(max(out, in)) orthogonal(beta m + g)
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::muon_family::MuonOptions;
use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, OptimError, ParamRole};

/// Muon with steps of `AdamW`'s size for the matrices inside the blocks, `AdamW` for the rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Moonlight {
    /// Peak learning rate of the matrices inside the blocks; `lr` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// How the momentum is taken and orthogonalized.
    #[serde(flatten)]
    pub muon: MuonOptions,
}

impl RecipeOptions for Moonlight {
    const NAME: &'static str = "moonlight";
    const ABOUT: &'static str = "Moonlight's Muon, with steps of `AdamW`'s size (2502.16982).";
}

impl OptimizerStrategy for Moonlight {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        match param.role() {
            ParamRole::Matrix => {
                let parts = self.muon.applied(Composition::moonlight(), param);
                param.decayed(parts, self.matrix_lr.unwrap_or(param.lr()))
            }
            _ => param.adamw(),
        }
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)?;
        self.muon.check()
    }
}
