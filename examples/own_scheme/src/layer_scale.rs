//! A residual rule: a sum whose branch has a learned strength in each channel (`LayerScale`, 2103.17239).

use evenburn::burn::tensor::Tensor;
use evenburn::model::Recorded;
use evenburn::model::modules::Arrays;
use evenburn::model::plan::{ArrayPlan, ParamRole};
use evenburn::model::rule::MixRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `h + strength * x`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LayerScale {
    /// Strength at initialization.
    pub(crate) strength: f64,
}

impl Recorded for LayerScale {
    const NAME: &'static str = "layer_scale";
    const ABOUT: &'static str = "A sum whose branch has a learned strength in each channel.";
}

impl MixRule for LayerScale {
    fn describe(&self) -> String {
        format!("h + s x, s: gain {}", self.strength)
    }

    fn arrays(&self, width: usize) -> Vec<ArrayPlan> {
        let start = self.strength;
        vec![ArrayPlan::filled(
            "strength",
            vec![width],
            start,
            ParamRole::Gain,
        )]
    }

    fn forward(&self, h: Tensor<3>, x: Tensor<3>, arrays: &Arrays) -> Tensor<3> {
        h + x * arrays.vector("strength").unsqueeze()
    }

    fn check(&self, _: usize) -> Result<(), String> {
        if self.strength.is_finite() {
            return Ok(());
        }
        Err(format!("an initial strength of {}", self.strength))
    }
}
