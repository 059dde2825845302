//! `AdamH` (Hyperball): Adam's direction, on the sphere of the norm that a matrix starts with.
//!
//! ```text
//! W <- R N(W - lr R N(u)),   N(X) = X / |X|_F,   R = |W_0|_F
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, OptimError, ParamRole};

/// Rate of the steps on spheres when not given: the middle of what Hyperball's authors use (2.5e-3 to 1e-2).
pub(super) const SPHERE_LR: f64 = 5e-3;

/// Adam on spheres for the matrices inside the blocks and the output layer, and Adam without weight decay for the rest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamH {
    /// Peak learning rate of what moves on a sphere, in units of its radius; 0.005 when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
}

impl RecipeOptions for AdamH {
    const NAME: &'static str = "adam_h";
    const ABOUT: &'static str = "Adam on the sphere of each matrix's first norm (Hyperball).";
}

impl OptimizerStrategy for AdamH {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        match param.role() {
            ParamRole::Matrix | ParamRole::Head => adam_on_sphere(self.matrix_lr, param),
            ParamRole::Embedding | ParamRole::Gain | ParamRole::Bias => param.plain_adam(),
        }
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)
    }
}

/// Adam's direction on a sphere.
pub(super) fn adam_on_sphere(matrix_lr: Option<f64>, param: &ParamContext<'_>) -> Treatment {
    let lr = matrix_lr.unwrap_or(SPHERE_LR);
    param.undecayed(Composition::adam_h(param.adam()), lr)
}
