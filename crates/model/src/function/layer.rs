//! LayerNorm (1607.06450).

use super::{Around, Effect, NormFunction};
use crate::named::Recorded;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gain * (x - mean(x)) / sqrt(var(x) + eps)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Layer {}

impl Recorded for Layer {
    const NAME: &'static str = "layer";
    const ABOUT: &'static str = "Takes out the mean and divides by the deviation.";
}

impl NormFunction for Layer {
    fn describe(&self) -> String {
        "LayerNorm".to_owned()
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let centred = x.clone() - x.mean_dim(1);
        let variance = centred.clone().square().mean_dim(1);
        around.gained(centred / variance.add_scalar(around.eps).sqrt())
    }

    fn effect(&self) -> Effect {
        Effect::CentredSize
    }

    fn check(&self, _: usize, eps: f64) -> Result<(), String> {
        if eps == 0.0 {
            return Err(
                "an epsilon of zero, which divides by zero where all channels agree".to_owned(),
            );
        }
        Ok(())
    }
}
