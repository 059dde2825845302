//! `MuonH` (Hyperball): Muon's direction, on the sphere of the norm that a matrix starts with.
//!
//! ```text
//! W <- R N(W - lr R N(u)),   N(X) = X / |X|_F,   R = |W_0|_F
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adam_h::{SPHERE_LR, adam_on_sphere};
use super::muon_family::MuonOptions;
use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, OptimError, ParamRole};

/// Muon on spheres for the matrices inside the blocks, Adam on one for the output layer, and Adam without weight decay for the
/// rest. A factor by shape (`scaling`) cancels on a sphere.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MuonH {
    /// Peak learning rate of what moves on a sphere, in units of its radius; 0.005 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// How the momentum is taken and orthogonalized.
    #[serde(flatten)]
    pub muon: MuonOptions,
}

impl RecipeOptions for MuonH {
    const NAME: &'static str = "muon_h";
    const ABOUT: &'static str = "Muon on the sphere of each matrix's first norm (Hyperball).";
}

impl OptimizerStrategy for MuonH {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        match param.role() {
            ParamRole::Matrix => {
                let parts = self.muon.applied(Composition::muon_h(), param);
                param.undecayed(parts, self.matrix_lr.unwrap_or(SPHERE_LR))
            }
            ParamRole::Head => adam_on_sphere(self.matrix_lr, param),
            ParamRole::Embedding | ParamRole::Gain | ParamRole::Bias => param.plain_adam(),
        }
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)?;
        self.muon.check()
    }
}
