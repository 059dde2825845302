//! Scion (Pethick et al., 2502.07529, table 2): the longest step in the norm that fits a layer, spectral inside the blocks and
//! of single entries at both ends.
//!
//! ```text
//! m <- 0.9 m + 0.1 g
//! blocks:      W <- W - lr scion_radius sqrt(out / in) orthogonal(m)
//! both ends:   W <- W - lr scion_sign_radius sign(m) / in      (in the embedding / out)
//! constrained: the same from (1 - lr) W
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::muon_family::MuonOptions;
use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::{check_positive, check_rate};
use crate::{Composition, OptimError, ParamRole, Scaling};

/// Spectral steps for the matrices inside the blocks, signs for the embedding and the output layer, `AdamW` for vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Scion {
    /// Peak learning rate of matrices, embedding and output layer, which the radii multiply; `lr` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
    /// How far Scion's steps reach for a rate of 1, in the matrices inside the blocks.
    pub scion_radius: f64,
    /// The same in the embedding and the output layer.
    pub scion_sign_radius: f64,
    /// Whether Scion's weights shrink towards the ball of that radius: `unconstrained` or `constrained`.
    pub scion_form: ScionForm,
    /// How the momentum is taken and orthogonalized.
    #[serde(flatten)]
    pub muon: MuonOptions,
}

/// Whether Scion's weights are held in a ball.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScionForm {
    /// `w - rate radius u`.
    #[default]
    Unconstrained,
    /// `(1 - rate) w - rate radius u`.
    Constrained,
}

impl Default for Scion {
    /// The radii of the official example.
    fn default() -> Self {
        Self {
            matrix_lr: None,
            scion_radius: 50.0,
            scion_sign_radius: 3000.0,
            scion_form: ScionForm::Unconstrained,
            muon: MuonOptions::default(),
        }
    }
}

impl RecipeOptions for Scion {
    const NAME: &'static str = "scion";
    const ABOUT: &'static str =
        "Scion: spectral steps in the blocks, signs at the ends (2502.07529).";
}

impl Scion {
    /// The radius is part of the rate.
    fn treat(&self, parts: Composition, radius: f64, param: &ParamContext<'_>) -> Treatment {
        let rate = self.matrix_lr.unwrap_or(param.lr());
        let treatment = param.undecayed(self.muon.applied(parts, param), rate * radius);
        Treatment {
            weight_decay: match self.scion_form {
                ScionForm::Unconstrained => 0.0,
                ScionForm::Constrained => radius.recip(),
            },
            ..treatment
        }
    }
}

impl OptimizerStrategy for Scion {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        let signs = |scaling| {
            let parts = Composition::scion_sign(scaling);
            self.treat(parts, self.scion_sign_radius, param)
        };
        match param.role() {
            ParamRole::Matrix => {
                self.treat(Composition::scion_spectral(), self.scion_radius, param)
            }
            ParamRole::Head => signs(Scaling::PerInput),
            // The step of the official example, where both ends share one table.
            ParamRole::Embedding => signs(Scaling::PerOutput),
            ParamRole::Gain | ParamRole::Bias => param.adamw(),
        }
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)?;
        check_positive("scion_radius", self.scion_radius)?;
        check_positive("scion_sign_radius", self.scion_sign_radius)?;
        self.muon.check()
    }
}
