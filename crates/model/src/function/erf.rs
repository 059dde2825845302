//! Derf (2512.10938): erf in place of a normalization.

use super::tanh::usable;
use super::{Around, NormFunction};
use crate::named::Recorded;
use crate::plan::{ArrayPlan, ParamRole};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gain * erf(slope * x + shift)` with two learned scalars, `shift` from 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Erf {
    /// Slope at initialization.
    pub slope: f64,
}

impl Default for Erf {
    fn default() -> Self {
        // The paper's.
        Self { slope: 0.5 }
    }
}

impl Recorded for Erf {
    const NAME: &'static str = "erf";
    const ABOUT: &'static str = "erf of a learned multiple, shifted.";
}

impl NormFunction for Erf {
    fn describe(&self) -> String {
        format!("erf({} x + 0)", self.slope)
    }

    fn arrays(&self, _: usize, decay: bool) -> Vec<ArrayPlan> {
        vec![
            ArrayPlan::filled("slope", vec![1], self.slope, ParamRole::Gain).decayed(decay),
            ArrayPlan::filled("shift", vec![1], 0.0, ParamRole::Bias).decayed(decay),
        ]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let arrays = around.arrays;
        let argument = x * arrays.vector("slope").unsqueeze();
        around.gained((argument + arrays.vector("shift").unsqueeze()).erf())
    }

    fn check(&self, _: usize, _: f64) -> Result<(), String> {
        usable(self.slope)
    }
}
