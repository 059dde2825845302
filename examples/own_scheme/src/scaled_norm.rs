//! A scheme whose normalization and whose residual rule the library doesn't have.
//!
//! ```text
//! h = h + strength * branch(N(h)),   N(x) = gain * x / (mean |x| + eps)
//! ```

use crate::layer_scale::LayerScale;
use crate::mean_abs::MeanAbs;
use evenburn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scheme with its options; what it leaves out is the trait's pre-norm.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScaledNorm {
    /// Initial strength of every branch.
    strength: f64,
    /// Added to the mean magnitude.
    eps: f64,
}

impl Default for ScaledNorm {
    fn default() -> Self {
        // LayerScale's value for up to 18 blocks (2103.17239, section 2.1).
        Self {
            strength: 0.1,
            eps: 1e-5,
        }
    }
}

impl SchemeOptions for ScaledNorm {
    const NAME: &'static str = "scaled_norm";
    const ABOUT: &'static str =
        "Branches that read a vector over its mean magnitude and join by LayerScale (2103.17239).";
}

impl NormStrategy for ScaledNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        let strength = self.strength;
        ResidualPlan {
            input: Some(NormPlan {
                function: MeanAbs {}.into(),
                ..NormPlan::rms(self.eps, GainRole::Input)
            }),
            mix: MixPlan::Rule {
                rule: LayerScale { strength }.into(),
            },
            ..ResidualPlan::plain()
        }
    }
}
