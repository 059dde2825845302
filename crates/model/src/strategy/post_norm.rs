//! Post-norm: `h = N(h + branch(h))`, the original transformer (1706.03762), with no normalization at the end.

use super::{Decay, NormStrategy, QkNorm, RMS_EPS, SchemeOptions, Statistics, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, GainRole, HeadPlan, LinearPlan, NormPlan, ResidualPlan, WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Post-norm with LayerNorm or RMSNorm.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::PostNorm};
/// let plan = Plan::new(&ModelConfig::default(), &PostNorm::default())?;
/// assert!(plan.layers[0].attn_residual.after.is_some() && plan.ends.head.final_norm.is_none());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PostNorm {
    /// Normalization of q and k: `none`; with a gain before the rotation, `head` or `full`; without one behind it, `unit`
    /// (both) or `keys` (k alone).
    pub qk: QkNorm,
    /// RMSNorm or LayerNorm: `rms` or `layer`.
    pub norm: Statistics,
    /// Epsilon of every normalization.
    pub eps: f64,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for PostNorm {
    fn default() -> Self {
        Self {
            qk: QkNorm::None,
            norm: Statistics::Layer,
            eps: RMS_EPS,
            start: WeightInit::Gpt2,
            decay: Decay::Matrices,
        }
    }
}

impl PostNorm {
    fn norm(&self) -> NormPlan {
        // The stream goes on behind it, to the skip connection as well as to the next branch.
        self.norm
            .norm(self.eps, GainRole::Output)
            .decayed(self.decay.gains())
    }
}

impl SchemeOptions for PostNorm {
    const NAME: &'static str = "post_norm";
    const ABOUT: &'static str = "LayerNorm or RMSNorm of the sum: the original transformer.";
}

impl NormStrategy for PostNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            after: Some(self.norm()),
            ..ResidualPlan::plain()
        }
    }

    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        self.qk.linear(site, self.norm())
    }

    fn attention(&self, _: usize, d: &Dims) -> AttentionPlan {
        self.qk.attention(d)
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan::plain()
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
