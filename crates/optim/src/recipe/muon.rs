//! Muon (Jordan et al., kellerjordan.github.io/posts/muon): a momentum whose singular values are moved towards one.
//!
//! ```text
//! m <- beta m + (1 - beta) g,   u = beta m + (1 - beta) g
//! W <- (1 - lr weight_decay) W - lr sqrt(max(1, out / in)) orthogonal(u)
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::muon_family::{MUON_LR, MuonOptions};
use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, OptimError, ParamRole};

/// Muon for the matrices inside the blocks, `AdamW` for the rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Muon {
    /// Peak learning rate of the matrices inside the blocks; 0.02 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// How the momentum is taken and orthogonalized.
    #[serde(flatten)]
    pub muon: MuonOptions,
}

impl RecipeOptions for Muon {
    const NAME: &'static str = "muon";
    const ABOUT: &'static str =
        "Keller Jordan's Muon (github.com/KellerJordan/Muon) as `torch.optim.Muon` has it.";
}

impl OptimizerStrategy for Muon {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        match param.role() {
            ParamRole::Matrix => {
                let parts = self.muon.applied(Composition::muon(), param);
                param.decayed(parts, self.matrix_lr.unwrap_or(MUON_LR))
            }
            _ => param.adamw(),
        }
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)?;
        self.muon.check()
    }
}
