//! Keel (2601.19895): post-norm with an up-weighted skip connection and a normalization of what each branch reads.
//!
//! ```text
//! h = N_o(a h + branch(N_i(h))),   a = 2 L, the number of branches, not learned
//! ```
//!
//! The first block is pre-norm, `h + branch(N_i(h))`, and nothing normalizes the stream at the end but the last `N_o`. The
//! paper's own text was not at hand: whether `N` is LayerNorm, as printed, or RMSNorm, what exactly the first block leaves
//! out and whether something normalizes at the end are options; initial weights are this project's choice.

use super::{
    Decay, FinalNorm, NormStrategy, QkNorm, RMS_EPS, SchemeOptions, Statistics, WeightInit,
};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, GainRole, HeadPlan, LinearPlan, MixPlan, NormPlan, ResidualPlan, WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Post-norm whose skip connection outweighs the branch.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, plan::MixPlan, strategy::Keel};
/// let config = ModelConfig { layers: 3, ..Default::default() };
/// let plan = Plan::new(&config, &Keel::default())?;
/// assert_eq!(plan.layers[0].mlp_residual.mix, MixPlan::Add);
/// assert_eq!(plan.layers[1].mlp_residual.mix, MixPlan::Scaled { skip: 6.0 });
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Keel {
    /// Normalization of q and k: `none`; with a gain before the rotation, `head` or `full`; without one behind it, `unit`
    /// (both) or `keys` (k alone).
    pub qk: QkNorm,
    /// RMSNorm or LayerNorm: `rms` or `layer`.
    pub norm: Statistics,
    /// Epsilon of every normalization.
    pub eps: f64,
    /// Constant on the skip connection; twice the number of blocks when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_scale: Option<f64>,
    /// The first block: `pre` (pre-norm) or `post` (as the others).
    pub first_block: FirstBlock,
    /// Normalization before the output layer: `none`, `rms` or `layer`.
    pub final_norm: FinalNorm,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

/// What Keel's first block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstBlock {
    /// Pre-norm: it neither scales the skip connection nor normalizes the sum.
    Pre,
    /// As the others.
    Post,
}

impl Default for Keel {
    fn default() -> Self {
        Self {
            qk: QkNorm::None,
            norm: Statistics::Layer,
            eps: RMS_EPS,
            skip_scale: None,
            first_block: FirstBlock::Pre,
            final_norm: FinalNorm::None,
            start: WeightInit::Gpt2,
            decay: Decay::Matrices,
        }
    }
}

impl Keel {
    fn norm(&self, role: GainRole) -> NormPlan {
        self.norm.norm(self.eps, role).decayed(self.decay.gains())
    }
}

impl SchemeOptions for Keel {
    const NAME: &'static str = "keel";
    const ABOUT: &'static str = "Keel: post-norm with an up-weighted skip connection and a normalization before each branch (2601.19895).";
}

impl NormStrategy for Keel {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, layer: usize, _: Branch, d: &Dims) -> ResidualPlan {
        let pre = ResidualPlan {
            input: Some(self.norm(GainRole::Input)),
            ..ResidualPlan::plain()
        };
        match (layer, self.first_block) {
            (0, FirstBlock::Pre) => pre,
            _ => ResidualPlan {
                mix: MixPlan::Scaled {
                    skip: self.skip_scale.unwrap_or(2.0 * d.layers as f64),
                },
                // The stream goes on behind it, to the skip connection as well as to the next branch.
                after: Some(self.norm(GainRole::Output)),
                ..pre
            },
        }
    }

    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        self.qk.linear(site, self.norm(GainRole::Output))
    }

    fn attention(&self, _: usize, d: &Dims) -> AttentionPlan {
        self.qk.attention(d)
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        let last = self.final_norm.plan(self.eps);
        HeadPlan {
            final_norm: last.map(|norm| norm.decayed(self.decay.gains())),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
