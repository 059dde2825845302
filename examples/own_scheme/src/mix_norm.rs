//! Mix-LN (2412.13795): the first blocks normalize the sum, as the original transformer does, all later ones what a branch
//! reads.
//!
//! ```text
//! block l < f L:   h = N(h + branch(h))
//! other blocks:    h = h + branch(N(h))
//! ```

use evenburn::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The scheme with its options; what it leaves out is the trait's pre-norm.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MixNorm {
    /// Part of the blocks, from the first on, that normalize the sum.
    post: f64,
    /// Epsilon of every normalization.
    eps: f64,
}

impl Default for MixNorm {
    fn default() -> Self {
        // Section 4.1: a quarter.
        Self {
            post: 0.25,
            eps: 1e-5,
        }
    }
}

impl SchemeOptions for MixNorm {
    const NAME: &'static str = "mix_norm";
    const ABOUT: &'static str =
        "Mix-LN: post-norm in the first blocks, pre-norm in the others (2412.13795).";
}

impl NormStrategy for MixNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, layer: usize, _: Branch, d: &Dims) -> ResidualPlan {
        if (layer as f64) < self.post * d.layers as f64 {
            ResidualPlan {
                after: Some(NormPlan::rms(self.eps, GainRole::Output)),
                ..ResidualPlan::plain()
            }
        } else {
            ResidualPlan {
                input: Some(NormPlan::rms(self.eps, GainRole::Input)),
                ..ResidualPlan::plain()
            }
        }
    }
}
