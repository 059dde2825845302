//! SimpleGPT (2602.01212): a normalization right after every linear map of a block, and none before.
//!
//! ```text
//! Psi(x; W, gain) = gain * N(W x),    h = h + attn(h),    h = h + mlp(h)
//! ```
//!
//! N is RMSNorm (or LayerNorm) over the whole projected vector, before the split into heads and the rotation. The embedding and
//! the output layer stay plain, and one RMSNorm stands before the output layer, as in the official code.

use super::{Decay, NormStrategy, RMS_EPS, SchemeOptions, Statistics, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{GainRole, HeadPlan, LinearPlan, NormPlan, ResidualPlan, WeightPlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the router of a mixture of experts counts as a linear map of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouterNorm {
    /// No: its logits are what the product makes them.
    None,
    /// Yes.
    Normalized,
}

/// SimpleNorm on every linear map of a block.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, Site, strategy::SimpleNorm};
/// let plan = Plan::new(&ModelConfig::default(), &SimpleNorm::default())?;
/// let layer = &plan.layers[0];
/// assert!(layer.attn_residual.input.is_none());
/// assert!(Site::BLOCK.iter().all(|site| layer.site(*site).is_some_and(|p| p.linear.norm.is_some())));
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SimpleNorm {
    /// RMSNorm or LayerNorm: `rms` or `layer`.
    pub norm: Statistics,
    /// Epsilon of every normalization.
    pub eps: f64,
    /// Normalization of the logits of a mixture's router: `none` or `normalized`.
    pub router: RouterNorm,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for SimpleNorm {
    fn default() -> Self {
        Self {
            norm: Statistics::Rms,
            eps: RMS_EPS,
            router: RouterNorm::None,
            start: WeightInit::SimpleGpt,
            decay: Decay::All,
        }
    }
}

impl SimpleNorm {
    fn norm(&self, role: GainRole) -> NormPlan {
        self.norm.norm(self.eps, role).decayed(self.decay.gains())
    }
}

impl SchemeOptions for SimpleNorm {
    const NAME: &'static str = "simple_norm";
    const ABOUT: &'static str =
        "SimpleGPT: RMSNorm right after every linear map of a block (2602.01212).";
}

impl NormStrategy for SimpleNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan::plain()
    }

    fn linear(&self, _: usize, site: Site, d: &Dims) -> LinearPlan {
        // The router makes logits, as the output layer does, which stays plain too.
        if site == Site::Router && self.router == RouterNorm::None {
            return LinearPlan::default();
        }
        // Attention mixes tokens and not channels, and `up` of a gated MLP only multiplies: the next matrix could absorb
        // these two.
        let role = match site {
            Site::V => GainRole::Input,
            Site::Up if d.mlp.inside() != Site::Up => GainRole::Input,
            _ => GainRole::Output,
        };
        LinearPlan {
            norm: Some(self.norm(role)),
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
