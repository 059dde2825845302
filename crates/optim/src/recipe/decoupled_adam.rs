//! Magnitude-direction decoupling (2606.25971) under Adam: directions of constant norm beside learned magnitudes; the formula
//! stands at the part `Magnitudes`.

use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OptimizerStrategy, ParamContext, RecipeOptions, Treatment};
use crate::config::check_rate;
use crate::{Composition, Magnitudes, OptimError, ParamRole};

/// Adam on directions beside learned magnitudes for the matrices inside the blocks; Adam on vectors of length 1 along the
/// stream for the embedding and the output layer where the scheme leaves them free; Adam for vectors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecoupledAdam {
    /// Peak learning rate of the matrices inside the blocks; `lr` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matrix_lr: Option<f64>,
}

impl RecipeOptions for DecoupledAdam {
    const NAME: &'static str = "decoupled_adam";
    const ABOUT: &'static str = "Adam on directions beside learned magnitudes (2606.25971).";
}

impl OptimizerStrategy for DecoupledAdam {
    fn treatment(&self, param: &ParamContext<'_>) -> Treatment {
        let adam = Composition::adam(param.adam());
        let lr = self.matrix_lr.unwrap_or(param.lr());
        decoupled(adam, lr, param)
    }

    fn check(&self) -> Result<(), OptimError> {
        check_rate("matrix_lr", self.matrix_lr)
    }
}

/// A step of the matrices beside learned magnitudes, and what the method does with the rest.
pub(super) fn decoupled(step: Composition, lr: f64, param: &ParamContext<'_>) -> Treatment {
    match param.role() {
        ParamRole::Matrix => {
            let magnitudes = Magnitudes {
                adam: param.adam(),
                ..Magnitudes::default()
            };
            param.undecayed(step.decoupled(magnitudes), lr)
        }
        ParamRole::Embedding | ParamRole::Head => param.plain_adam().confined(Constraint::Unit {
            along: param.info().stream,
        }),
        ParamRole::Gain | ParamRole::Bias => param.plain_adam(),
    }
}
