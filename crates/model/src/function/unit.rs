//! Unit length, as nGPT (2410.01131) and anGPT (2505.22014) normalize.

use super::{Around, Effect, NormFunction};
use crate::named::Recorded;
use burn::tensor::Tensor;
use evenburn_kernels::Size;
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
        let square = x.clone().square().sum_dim(1).add_scalar(around.eps);
        // Zeros stay zeros, and so do their gradients.
        let none = square.clone().equal_elem(0.0);
        around.gained(x / square.mask_fill(none, f64::INFINITY).sqrt())
    }

    fn fused(&self) -> Option<Size> {
        Some(Size::L2)
    }

    fn effect(&self) -> Effect {
        Effect::Size
    }
}
