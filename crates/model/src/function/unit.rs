//! Unit length, as nGPT (2410.01131) and anGPT (2505.22014) normalize.

use super::{Around, Effect, NormFunction};
use crate::named::Recorded;
use burn::tensor::Tensor;
use evenburn_kernels::{Size, reference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `gain * x / sqrt(sum(x^2) + eps)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Unit {}

impl Recorded for Unit {
    const NAME: &'static str = "l2";
    const ABOUT: &'static str = "Divides by the length.";
}

impl NormFunction for Unit {
    fn describe(&self) -> String {
        "unit length".to_owned()
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let [_, width] = x.dims();
        reference::normalize(x, around.gain.clone(), Size::L2, around.eps, width)
    }

    fn fused(&self) -> Option<Size> {
        Some(Size::L2)
    }

    fn effect(&self) -> Effect {
        Effect::Size
    }
}
