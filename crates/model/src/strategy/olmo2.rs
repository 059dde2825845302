//! OLMo 2 (2501.00656): `h + N(branch(h))`, q and k normalized over their full width.

use super::{Decay, NormStrategy, QkNorm, SchemeOptions, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, GainRole, HeadPlan, LinearPlan, NormPlan, ResidualPlan, WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Norms behind the branches.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::Olmo2};
/// let plan = Plan::new(&ModelConfig::default(), &Olmo2::default())?;
/// let layer = &plan.layers[0];
/// assert!(layer.attn_residual.output.is_some() && layer.attn_residual.input.is_none());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Olmo2 {
    /// Normalization of q and k: `none`; with a gain before the rotation, `head` or `full`; without one behind it, `unit`
    /// (both) or `keys` (k alone).
    pub qk: QkNorm,
    /// Epsilon of every RMSNorm.
    pub eps: f64,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

/// `rms_norm_eps` of the published OLMo 2 configurations.
const EPS: f64 = 1e-6;

impl Default for Olmo2 {
    fn default() -> Self {
        Self {
            qk: QkNorm::Full,
            eps: EPS,
            start: WeightInit::SimpleGpt,
            decay: Decay::Matrices,
        }
    }
}

impl Olmo2 {
    fn norm(&self, role: GainRole) -> NormPlan {
        NormPlan::rms(self.eps, role).decayed(self.decay.gains())
    }
}

impl SchemeOptions for Olmo2 {
    const NAME: &'static str = "olmo2";
    const ABOUT: &'static str = "OLMo 2: RMSNorm after each branch, q/k norm over the full width.";
}

impl NormStrategy for Olmo2 {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            output: Some(self.norm(GainRole::Output)),
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
        self.start.weight(layer, site, d)
    }
}
