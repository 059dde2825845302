//! RMSNorm that keeps the size of what it reads (2602.10408).

use super::scheduled::{averaged, end_of};
use super::{Around, Effect, Moment, NormFunction, Rms, Scales, Scheduled};
use crate::named::Recorded;
use crate::plan::{ArrayPlan, ParamRole};
use burn::tensor::Tensor;
use evenburn_kernels::Size;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// RMSNorm, `gain * x / r` with `r = sqrt(mean(x^2) + eps)`, and in training the loss `weight * mean((r - target)^2)`.
///
/// It stands at the end of a decoder whose other norms taper off: without them nothing else holds the size of the stream.
/// `target` is the mean of `r` over the first steps of the run, an average that forgets with `rate`; from then on the loss
/// counts. Source: 2602.10408, equation 5 and appendix A.6. Both numbers are state, `mean` and `target`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Anchored {
    /// Weight of the loss.
    pub weight: f64,
    /// Part of the run over which it measures.
    pub warmup: f64,
    /// Weight of the newest step in the average.
    pub rate: f64,
}

impl Default for Anchored {
    fn default() -> Self {
        Self {
            weight: 0.1,
            warmup: 0.05,
            rate: 0.01,
        }
    }
}

impl Recorded for Anchored {
    const NAME: &'static str = "anchored";
    const ABOUT: &'static str =
        "RMSNorm with a loss that keeps the size of what it reads (2602.10408).";
}

/// `sqrt(mean(x^2) + eps)` of each row, `[N, 1]`.
pub(super) fn size(x: Tensor<2>, eps: f64) -> Tensor<2> {
    x.square().mean_dim(1).add_scalar(eps).sqrt()
}

impl NormFunction for Anchored {
    fn describe(&self) -> String {
        format!("RMS, size held by {}", self.weight)
    }

    fn arrays(&self, _: usize, _: bool) -> Vec<ArrayPlan> {
        let state = |name| ArrayPlan::filled(name, vec![1], 0.0, ParamRole::Bias).state();
        vec![state("mean"), state("target")]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        Rms {}.forward(x, around)
    }

    fn fused(&self) -> Option<Size> {
        Some(Size::Rms)
    }

    fn effect(&self) -> Effect {
        Effect::Size
    }

    fn scheduled(&self) -> Option<&dyn Scheduled> {
        Some(self)
    }

    fn check(&self, _: usize, _: f64) -> Result<(), String> {
        usable(self.warmup, self.rate)?;
        match self.weight {
            weight if weight > 0.0 && weight.is_finite() => Ok(()),
            weight => Err(format!(
                "a loss of weight {weight}, which has to be positive"
            )),
        }
    }
}

/// Whether part of a run and rate of an average are what they can be.
pub(super) fn usable(warmup: f64, rate: f64) -> Result<(), String> {
    if !(0.0..1.0).contains(&warmup) {
        return Err(format!(
            "a warm-up of {warmup} of the run, outside of 0 to 1"
        ));
    }
    if !(rate > 0.0 && rate <= 1.0) {
        return Err(format!("an average of rate {rate}, outside of 0 to 1"));
    }
    Ok(())
}

impl Scheduled for Anchored {
    fn measures(&self, at: Moment) -> bool {
        at.step < end_of(self.warmup, at.total)
    }

    fn measured(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<1> {
        let [rows, _] = x.dims();
        size(x, around.eps).reshape([rows]).mean_dim(0)
    }

    fn penalty(&self, at: Moment, x: Tensor<2>, around: &Around<'_>) -> Option<Tensor<1>> {
        if self.measures(at) {
            return None;
        }
        let [rows, _] = x.dims();
        let size: Tensor<1> = size(x, around.eps).reshape([rows]);
        let off = (size - around.arrays.vector("target")).square();
        Some(off.mean_dim(0).mul_scalar(self.weight))
    }

    fn after_step(
        &self,
        at: Moment,
        arrays: Scales<'_>,
        measured: &[f64],
    ) -> Vec<(&'static str, Vec<f64>)> {
        let Some(new) = measured.first() else {
            return Vec::new();
        };
        let mean = averaged(arrays("mean").first().copied(), *new, self.rate);
        let mut set = vec![("mean", vec![mean])];
        if !self.measures(at) {
            // An average of n values that began at 0 has the weight 1 - (1 - rate)^n.
            let weight = 1.0 - (1.0 - self.rate).powf(at.step as f64);
            set.push(("target", vec![mean / weight]));
        }
        set
    }
}
