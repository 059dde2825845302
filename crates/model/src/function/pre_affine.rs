//! `PreAffine` (2601.22966): a scale on both sides of RMSNorm.

use super::{Around, Effect, NormFunction};
use crate::named::Recorded;
use crate::plan::{ArrayPlan, ParamRole};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gain * z / sqrt(mean(z^2) + eps)` of `z = lambda * x` with a learned vector `lambda` of `D` entries, from 1 (section
/// 3.4). The gain folds into what reads it, `lambda` can't; it decays where the gain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreAffine {}

impl Recorded for PreAffine {
    const NAME: &'static str = "pre_affine";
    const ABOUT: &'static str =
        "PreAffine: RMSNorm with a learned scale of its input (2601.22966).";
}

impl NormFunction for PreAffine {
    fn describe(&self) -> String {
        "RMS of a scaled input".to_owned()
    }

    fn arrays(&self, width: usize, decay: bool) -> Vec<ArrayPlan> {
        vec![ArrayPlan::filled("lambda", vec![width], 1.0, ParamRole::Gain).decayed(decay)]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let z = x * around.arrays.vector("lambda").unsqueeze();
        let size = z.clone().square().mean_dim(1).add_scalar(around.eps).sqrt();
        around.gained(z / size)
    }

    fn effect(&self) -> Effect {
        Effect::Invariant
    }
}
