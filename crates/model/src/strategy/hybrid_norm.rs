//! HybridNorm (2503.04598): q, k and v are normalized head by head, nothing is normalized before attention, and the
//! MLP reads and adds to a normalized stream.
//!
//! ```text
//! y = h + Wo attn(N(q), N(k), N(v));   n = N(y);   h = n + mlp(n)
//! ```
//!
//! `HybridNorm*` treats the first block apart: its attention has a norm before it, and its MLP a plain pre-norm.

use super::{Decay, NormStrategy, RMS_EPS, SchemeOptions, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{GainRole, HeadPlan, LinearPlan, NormPlan, ResidualPlan, WeightPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the first block does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstLayer {
    /// The same as the others.
    Same,
    /// Pre-norm around attention and MLP (`HybridNorm*`).
    PreNorm,
}

/// Per-head norms of q, k and v and a post-normed MLP.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::HybridNorm};
/// let plan = Plan::new(&ModelConfig::default(), &HybridNorm::default())?;
/// let layer = &plan.layers[0];
/// assert!(layer.v.linear.norm.is_some() && layer.mlp_residual.stream.is_some());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HybridNorm {
    /// The first block: `same` or `pre_norm`.
    pub first: FirstLayer,
    /// Epsilon of every RMSNorm.
    pub eps: f64,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` (the published configuration) or `matrices`.
    pub decay: Decay,
}

impl Default for HybridNorm {
    fn default() -> Self {
        Self {
            first: FirstLayer::Same,
            eps: RMS_EPS,
            start: WeightInit::SimpleGpt,
            decay: Decay::All,
        }
    }
}

impl HybridNorm {
    fn norm(&self, role: GainRole) -> NormPlan {
        NormPlan::rms(self.eps, role).decayed(self.decay.gains())
    }
}

impl SchemeOptions for HybridNorm {
    const NAME: &'static str = "hybrid_norm";
    const ABOUT: &'static str =
        "HybridNorm: q, k, v normalized per head, and a post-normed MLP (2503.04598).";
}

impl NormStrategy for HybridNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, layer: usize, branch: Branch, _: &Dims) -> ResidualPlan {
        match (branch, self.first) {
            (_, FirstLayer::PreNorm) if layer == 0 => ResidualPlan {
                input: Some(self.norm(GainRole::Input)),
                ..ResidualPlan::plain()
            },
            (Branch::Attention, _) => ResidualPlan::plain(),
            // Before the stream splits, so that the skip connection carries the norm too.
            (Branch::Mlp, _) => ResidualPlan {
                stream: Some(self.norm(GainRole::Output)),
                ..ResidualPlan::plain()
            },
        }
    }

    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        let norm = match site {
            Site::Q | Site::K => Some(self.norm(GainRole::Output).per_head()),
            // Attention mixes tokens and not channels: the output projection could absorb this gain.
            Site::V => Some(self.norm(GainRole::Input).per_head()),
            _ => None,
        };
        LinearPlan {
            norm,
            ..LinearPlan::default()
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan {
            final_norm: Some(self.norm(GainRole::Input)),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
