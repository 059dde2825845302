//! LayerNorm scaling (2502.05795): pre-norm whose normalized input shrinks with depth.
//!
//! ```text
//! h = h + branch( N(h) / sqrt(l) ),   l = 1, 2, ... the number of the block
//! ```
//!
//! The authors advise against combining it with initial weights that shrink with depth.

use super::{Decay, NormStrategy, QkNorm, RMS_EPS, SchemeOptions, Statistics, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, GainRole, HeadPlan, Init, LinearPlan, NormPlan, ResidualPlan, WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pre-norm divided by the square root of the block's number.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::LnScaling};
/// let plan = Plan::new(&ModelConfig::default(), &LnScaling::default())?;
/// let factor = plan.layers[3].attn_residual.input.as_ref().map(|norm| norm.factor);
/// assert_eq!(factor, Some(0.5));
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LnScaling {
    /// Normalization of q and k: `none`; with a gain before the rotation, `head` or `full`; without one behind it, `unit`
    /// (both) or `keys` (k alone).
    pub qk: QkNorm,
    /// RMSNorm or LayerNorm: `rms` or `layer`.
    pub norm: Statistics,
    /// Epsilon of every normalization.
    pub eps: f64,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for LnScaling {
    fn default() -> Self {
        Self {
            qk: QkNorm::None,
            norm: Statistics::Rms,
            eps: RMS_EPS,
            decay: Decay::Matrices,
        }
    }
}

/// Deviation of the initial matrices, the same at every depth (GPT-2's).
const STD: f64 = 0.02;

impl LnScaling {
    fn norm(&self, role: GainRole) -> NormPlan {
        self.norm.norm(self.eps, role).decayed(self.decay.gains())
    }
}

impl SchemeOptions for LnScaling {
    const NAME: &'static str = "ln_scaling";
    const ABOUT: &'static str = "Pre-norm with the normalized input divided by the square root of the layer's number (2502.05795).";
}

impl NormStrategy for LnScaling {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, layer: usize, _: Branch, _: &Dims) -> ResidualPlan {
        let factor = ((layer + 1) as f64).sqrt().recip();
        ResidualPlan {
            input: Some(self.norm(GainRole::Input).scaled(factor)),
            ..ResidualPlan::plain()
        }
    }

    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        self.qk.linear(site, self.norm(GainRole::Output))
    }

    fn attention(&self, _: usize, d: &Dims) -> AttentionPlan {
        self.qk.attention(d)
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan {
            final_norm: Some(self.norm(GainRole::Input)),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        match site {
            Site::Embedding | Site::Positions | Site::Head => {
                WeightInit::SimpleGpt.weight(layer, site, d)
            }
            _ => WeightPlan {
                init: Init::Normal { std: STD },
                ..WeightInit::SimpleGpt.weight(layer, site, d)
            },
        }
    }
}
