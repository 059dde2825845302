//! `GeoNorm` (2601.22095): the stream moves along the sphere that it is on.
//!
//! `B` batch, `T` time, `D` model.

use super::MixRule;
use crate::modules::Arrays;
use crate::named::Recorded;
use crate::plan::{ArrayPlan, ParamRole};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A turn of each token's stream `h` towards its branch output `x` that keeps `|h|` (2601.22095, eq. 5 and appendix D):
///
/// ```text
/// v = x - (h . x / |h|^2) h;   t = max(|v|, 1e-8);   R = max(|h|, 1e-6)
/// angle = min(t / R, clamp);   angle = min((angle * scale + bias) * factor, clamp)
/// h' = h cos(angle) + R sin(angle) v / t
/// ```
///
/// `scale` and `bias` are learned scalars, 1 and 0 at the start. Where a bound holds, no gradient passes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Geodesic {
    /// Constant on the angle: what it decays to in this block.
    pub factor: f64,
    /// Largest angle, in radians.
    pub clamp: f64,
}

/// Least length of the tangent vector (2601.22095, appendix D).
const LEAST_TANGENT: f64 = 1e-8;

/// Least radius (2601.22095, appendix D).
const LEAST_RADIUS: f64 = 1e-6;

impl Recorded for Geodesic {
    const NAME: &'static str = "geodesic";
    const ABOUT: &'static str = "Turns the stream towards the branch and keeps its length.";
}

impl MixRule for Geodesic {
    fn describe(&self) -> String {
        let Self { factor, clamp } = self;
        format!("h turned towards x by at most {clamp:.4}, factor {factor:.4}")
    }

    fn arrays(&self, _: usize) -> Vec<ArrayPlan> {
        vec![
            ArrayPlan::filled("scale", vec![1], 1.0, ParamRole::Gain),
            ArrayPlan::filled("bias", vec![1], 0.0, ParamRole::Bias),
        ]
    }

    fn forward(&self, h: Tensor<3>, x: Tensor<3>, arrays: &Arrays) -> Tensor<3> {
        let dot = (h.clone() * x.clone()).sum_dim(2);
        // Bounds under the roots: a root of 0 has no derivative.
        let bounded = |x: &Tensor<3>, least: f64| {
            let square = x.clone().square().sum_dim(2);
            square.clamp_min(least * least)
        };
        let square = bounded(&h, LEAST_RADIUS);
        let tangent = x - h.clone() * (dot / square.clone());
        let length = bounded(&tangent, LEAST_TANGENT).sqrt();
        let radius = square.sqrt();
        let [scale, bias] = ["scale", "bias"].map(|name| arrays.vector(name).unsqueeze());
        let angle = (length.clone() / radius.clone()).clamp_max(self.clamp);
        let angle = (angle * scale + bias).mul_scalar(self.factor);
        let angle = angle.clamp_max(self.clamp);
        h * angle.clone().cos() + tangent * (radius * angle.sin() / length)
    }

    fn check(&self, _: usize) -> Result<(), String> {
        let Self { factor, clamp } = *self;
        if factor == 0.0 || !factor.is_finite() {
            return Err(format!(
                "a factor of {factor} on the angle, which is not a usable number"
            ));
        }
        if !(clamp > 0.0 && clamp <= PI) {
            return Err(format!(
                "a largest angle of {clamp}, which is not between 0 and pi"
            ));
        }
        Ok(())
    }
}
