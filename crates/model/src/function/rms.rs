//! RMSNorm (1910.07467).

use super::{Around, Effect, NormFunction};
use crate::named::Recorded;
use burn::tensor::Tensor;
use evenburn_kernels::{Size, reference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gain * x / sqrt(mean(x^2) + eps)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rms {}

impl Recorded for Rms {
    const NAME: &'static str = "rms";
    const ABOUT: &'static str = "Divides by the root of the mean square.";
}

impl NormFunction for Rms {
    fn describe(&self) -> String {
        "RMS".to_owned()
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let [_, width] = x.dims();
        reference::normalize(x, around.gain.clone(), Size::Rms, around.eps, width)
    }

    fn fused(&self) -> Option<Size> {
        Some(Size::Rms)
    }

    fn effect(&self) -> Effect {
        Effect::Size
    }
}
