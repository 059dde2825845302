//! A normalization function: a vector over its mean magnitude, as L1 batch normalization divides (1802.09769).

use evenburn::burn::tensor::Tensor;
use evenburn::model::Recorded;
use evenburn::model::function::{Around, NormFunction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gain * x / (mean |x| + eps)`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MeanAbs {}

impl Recorded for MeanAbs {
    const NAME: &'static str = "mean_abs";
    const ABOUT: &'static str = "Divides by the mean magnitude.";
}

impl NormFunction for MeanAbs {
    fn describe(&self) -> String {
        "mean magnitude".to_owned()
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let size = x.clone().abs().mean_dim(1).add_scalar(around.eps);
        around.gained(x / size)
    }
}
