//! Muon with the Polar Express (Amsel et al., 2505.16932): the best polynomial for each step of the orthogonalization in
//! turn.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::muon_family::{MUON_LR, MuonOptions};
use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, OptimError, ParamRole};

/// Muon with the polynomials of the Polar Express for the matrices inside the blocks, `AdamW` for the rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PolarExpress {
    /// Peak learning rate of the matrices inside the blocks; 0.02 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// How the momentum is taken and orthogonalized.
    #[serde(flatten)]
    pub muon: MuonOptions,
}

impl RecipeOptions for PolarExpress {
    const NAME: &'static str = "polar_express";
    const ABOUT: &'static str = "Muon with the Polar Express (2505.16932).";
}

impl OptimizerStrategy for PolarExpress {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        match param.role() {
            ParamRole::Matrix => {
                let parts = self.muon.applied(Composition::polar_express(), param);
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
