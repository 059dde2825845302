//! `NorMuon` (Li et al., 2510.05491): Muon whose orthogonalized step is divided by a running root mean square of each output;
//! the formula stands at the part `NeuronNorm`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::muon_family::{MUON_LR, MuonOptions};
use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, OptimError, ParamRole};

/// `NorMuon` for the matrices inside the blocks, `AdamW` for the rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NorMuon {
    /// Peak learning rate of the matrices inside the blocks; 0.02 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// How the momentum is taken and orthogonalized.
    #[serde(flatten)]
    pub muon: MuonOptions,
}

impl RecipeOptions for NorMuon {
    const NAME: &'static str = "nor_muon";
    const ABOUT: &'static str = "Muon with equal steps for every output (2510.05491).";
}

impl OptimizerStrategy for NorMuon {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        match param.role() {
            ParamRole::Matrix => {
                let parts = self.muon.applied(Composition::nor_muon(), param);
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
