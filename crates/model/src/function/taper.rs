//! `TaperNorm` (2602.10408): RMSNorm that becomes a scale.

use super::{Around, NormFunction, PlacedAt, Scales};
use crate::named::Recorded;
use crate::plan::{ArrayPlan, Role};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gate * gain * x / sqrt(mean(x^2) + eps) + (1 - gate) * c * copy * x` (equations 3 to 5).
///
/// `copy` is a learned vector of `D` entries, from 1; `gate` and `c`, one number each, are state: checkpoints hold them, no
/// gradient moves them. At gate 0 no statistics are left, and the function is a scale of channels, `c * copy`, that folds
/// into what reads it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Taper {
    /// Part of the normalization at the start: 1 is RMSNorm, 0 a scale of channels.
    pub gate: f64,
    /// Constant of that scale at the start.
    pub c: f64,
}

impl Default for Taper {
    fn default() -> Self {
        Self { gate: 1.0, c: 1.0 }
    }
}

impl Recorded for Taper {
    const NAME: &'static str = "taper";
    const ABOUT: &'static str =
        "TaperNorm: RMSNorm that a gate turns into a scale of channels (2602.10408).";
}

impl NormFunction for Taper {
    fn describe(&self) -> String {
        "RMS, tapered to a scale".to_owned()
    }

    fn arrays(&self, width: usize, decay: bool) -> Vec<ArrayPlan> {
        let state = |name, value| ArrayPlan::filled(name, vec![1], value, Role::Gain).state();
        vec![
            ArrayPlan::filled("copy", vec![width], 1.0, Role::Gain).decayed(decay),
            state("gate", self.gate),
            state("c", self.c),
        ]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let arrays = around.arrays;
        let gate = arrays.vector("gate");
        let normalized = match &around.gain {
            Some(gain) => gain.clone() * gate.clone(),
            None => gate.clone(),
        };
        let open = gate.neg().add_scalar(1.0);
        let scaled = arrays.vector("copy") * (arrays.vector("c") * open);
        let size = x.clone().square().mean_dim(1).add_scalar(around.eps).sqrt();
        x.clone() / size * normalized.unsqueeze() + x * scaled.unsqueeze()
    }

    fn gain_is_last(&self) -> bool {
        false
    }

    fn placed_at(&self) -> PlacedAt {
        PlacedAt::Inputs
    }

    fn as_scale(&self, arrays: Scales<'_>) -> Option<Vec<f64>> {
        let one = |name| arrays(name).first().copied();
        let c = one("c")?;
        (one("gate")? == 0.0).then(|| arrays("copy").iter().map(|v| c * v).collect())
    }

    fn check(&self, _: usize, _: f64) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.gate) {
            return Err(format!("a gate of {}, outside of 0 to 1", self.gate));
        }
        if self.c == 0.0 || !self.c.is_finite() {
            return Err(format!(
                "a constant of {}, which is not a usable number",
                self.c
            ));
        }
        Ok(())
    }
}
