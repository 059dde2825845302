//! DyT (2503.10622): tanh in place of a normalization.

use super::{Around, NormFunction};
use crate::named::Recorded;
use crate::plan::{ArrayPlan, ParamRole};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gain * tanh(slope * x)` with a learned scalar: no statistics at all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tanh {
    /// Slope at initialization.
    pub slope: f64,
}

impl Default for Tanh {
    fn default() -> Self {
        // The paper's.
        Self { slope: 0.5 }
    }
}

impl Recorded for Tanh {
    const NAME: &'static str = "tanh";
    const ABOUT: &'static str = "tanh of a learned multiple.";
}

/// Whether a slope acts at all.
pub(super) fn usable(slope: f64) -> Result<(), String> {
    if slope == 0.0 || !slope.is_finite() {
        return Err(format!(
            "an initial slope of {slope}, which is not a usable number"
        ));
    }
    Ok(())
}

impl NormFunction for Tanh {
    fn describe(&self) -> String {
        format!("tanh({} x)", self.slope)
    }

    fn arrays(&self, _: usize, decay: bool) -> Vec<ArrayPlan> {
        vec![ArrayPlan::filled("slope", vec![1], self.slope, ParamRole::Gain).decayed(decay)]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let slope = around.arrays.vector("slope");
        around.gained((x * slope.unsqueeze()).tanh())
    }

    fn check(&self, _: usize, _: f64) -> Result<(), String> {
        usable(self.slope)
    }
}
