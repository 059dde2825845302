//! `TaperNorm` (2602.10408): RMSNorm that becomes a scale.

use super::anchored::{size, usable};
use super::scheduled::{averaged, end_of};
use super::{Anchored, Around, Function, Moment, NormFunction, PlacedAt, Scales, Scheduled};
use crate::named::Recorded;
use crate::plan::{ArrayPlan, ParamRole};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// What moves the gate in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateSchedule {
    /// Nothing.
    Fixed,
    /// It is 1 during the warm-up, then falls to 0 over the rest of the run, as half a cosine.
    #[default]
    Cosine,
}

/// `gate * gain * x / r + (1 - gate) * c * copy * x` with `r = sqrt(mean(x^2) + eps)` (equations 3 to 5).
///
/// `copy` is a learned vector of `D` entries, from 1; `gate` and `c`, one number each, are state: checkpoints hold them, no
/// gradient moves them. At gate 0 no statistics are left, and the function is a scale of channels, `c * copy`, that folds
/// into what reads it.
///
/// Under the cosine, the layer is RMSNorm during the warm-up and averages what decides `c`; then `copy` takes the value of the
/// gain, both are trained, and
///
/// ```text
/// c = E[|gain * x|^2 / r] / E[|gain * x|^2]      gate = (1 + cos(pi s)) / 2,  s from 0 to 1
/// ```
///
/// which makes `c * gain * x` nearest to what the layer made. A final RMSNorm is replaced by [`Anchored`], whose loss holds the
/// size of the stream. Source: appendix A.6.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Taper {
    /// What moves the gate in training: `cosine` (1 in the warm-up, then down to 0) or `fixed`.
    pub schedule: GateSchedule,
    /// Part of the normalization at the start: 1 is RMSNorm, 0 a scale of channels.
    pub gate: f64,
    /// Constant of that scale at the start.
    pub c: f64,
    /// Part of the run before the gate moves.
    pub warmup: f64,
    /// Weight of the newest step in the averages of the warm-up.
    pub rate: f64,
    /// Weight of the loss that holds the size of the stream at the end; 0 for none.
    pub penalty: f64,
}

impl Default for Taper {
    fn default() -> Self {
        let anchored = Anchored::default();
        Self {
            schedule: GateSchedule::Cosine,
            gate: 1.0,
            c: 1.0,
            warmup: anchored.warmup,
            rate: anchored.rate,
            penalty: anchored.weight,
        }
    }
}

impl Taper {
    /// A gate and a constant that stay as they are.
    pub fn fixed(gate: f64, c: f64) -> Self {
        Self {
            schedule: GateSchedule::Fixed,
            gate,
            c,
            ..Self::default()
        }
    }

    /// The gate at a moment of a run.
    fn gate_at(&self, at: Moment) -> f64 {
        let start = end_of(self.warmup, at.total);
        if at.step <= start {
            return 1.0;
        }
        let part = (at.step - start) as f64 / (at.total.max(start + 1) - start) as f64;
        0.5 * (1.0 + (PI * part.min(1.0)).cos())
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
        let state = |name, value| ArrayPlan::filled(name, vec![1], value, ParamRole::Gain).state();
        let mut arrays = vec![
            ArrayPlan::filled("copy", vec![width], 1.0, ParamRole::Gain).decayed(decay),
            state("gate", self.gate),
            state("c", self.c),
        ];
        if self.schedule == GateSchedule::Cosine {
            arrays.extend([state("normalized", 0.0), state("plain", 0.0)]);
        }
        arrays
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
        let size = size(x.clone(), around.eps);
        x.clone() / size * normalized.unsqueeze() + x * scaled.unsqueeze()
    }

    fn gain_is_last(&self) -> bool {
        false
    }

    fn placed_at(&self) -> PlacedAt {
        PlacedAt::Inputs
    }

    fn final_norm(&self) -> Option<Function> {
        let held = self.schedule == GateSchedule::Cosine && self.penalty > 0.0;
        held.then(|| {
            let anchored = Anchored {
                weight: self.penalty,
                warmup: self.warmup,
                rate: self.rate,
            };
            anchored.into()
        })
    }

    fn scheduled(&self) -> Option<&dyn Scheduled> {
        match self.schedule {
            GateSchedule::Fixed => None,
            GateSchedule::Cosine => Some(self),
        }
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
        if self.schedule == GateSchedule::Cosine && self.gate < 1.0 {
            return Err(format!(
                "a cosine from 1 to 0 for a gate that starts at {}",
                self.gate
            ));
        }
        #[allow(clippy::float_cmp)] // the default, exactly
        if self.schedule == GateSchedule::Cosine && self.c != 1.0 {
            return Err(format!(
                "a constant of {} beside a cosine, which measures its own",
                self.c
            ));
        }
        if !(self.penalty >= 0.0 && self.penalty.is_finite()) {
            return Err(format!(
                "a loss of weight {}, which can't be negative",
                self.penalty
            ));
        }
        usable(self.warmup, self.rate)?;
        if self.c == 0.0 || !self.c.is_finite() {
            return Err(format!(
                "a constant of {}, which is not a usable number",
                self.c
            ));
        }
        Ok(())
    }
}

impl Scheduled for Taper {
    fn measures(&self, at: Moment) -> bool {
        at.step < end_of(self.warmup, at.total)
    }

    /// Means of `|gain * x|^2 / r` and of `|gain * x|^2`.
    fn measured(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<1> {
        let [rows, _] = x.dims();
        let square = around.gained(x.clone()).square().sum_dim(1);
        let normalized = square.clone() / size(x, around.eps);
        let mean = |of: Tensor<2>| of.reshape([rows]).mean_dim(0);
        Tensor::cat(vec![mean(normalized), mean(square)], 0)
    }

    fn after_step(
        &self,
        at: Moment,
        arrays: Scales<'_>,
        measured: &[f64],
    ) -> Vec<(&'static str, Vec<f64>)> {
        let [normalized, plain] = measured else {
            return vec![("gate", vec![self.gate_at(at)])];
        };
        let average = |name, new| averaged(arrays(name).first().copied(), new, self.rate);
        let normalized = average("normalized", *normalized);
        let plain = average("plain", *plain);
        let mut set = vec![("normalized", vec![normalized]), ("plain", vec![plain])];
        if !self.measures(at) {
            // Both averages lack the same factor.
            set.push(("c", vec![normalized / plain]));
            let gain = arrays("gain");
            if !gain.is_empty() {
                set.push(("copy", gain));
            }
        }
        set
    }

    fn metric(&self, at: Moment) -> Option<(&'static str, f64)> {
        Some(("taper/gate", self.gate_at(at)))
    }
}
