//! Magnitude-direction decoupling (2606.25971) under Muon: directions of constant norm beside learned magnitudes; the formula
//! stands at the part `Magnitudes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decoupled_adam::decoupled;
use super::muon_family::{MUON_LR, MuonOptions};
use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, OptimError};

/// Muon on directions beside learned magnitudes for the matrices inside the blocks; Adam on vectors of length 1 along the
/// stream for the embedding and the output layer where the scheme leaves them free; Adam for vectors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DecoupledMuon {
    /// Peak learning rate of the matrices inside the blocks; 0.02 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// How the momentum is taken and orthogonalized.
    #[serde(flatten)]
    pub muon: MuonOptions,
}

impl RecipeOptions for DecoupledMuon {
    const NAME: &'static str = "decoupled_muon";
    const ABOUT: &'static str = "Muon on directions beside learned magnitudes (2606.25971).";
}

impl OptimizerStrategy for DecoupledMuon {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        let muon = self.muon.applied(Composition::decoupled_muon(), param);
        decoupled(muon, self.matrix_lr.unwrap_or(MUON_LR), param)
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)?;
        self.muon.check()
    }
}
