//! DeepNorm (2203.00555): post-norm with an up-weighted skip connection and smaller initial weights.
//!
//! ```text
//! h = N(a h + branch(h)),   a = (2 L)^(1/4);   v, o and the MLP start with gain b = (8 L)^(-1/4)
//! ```
//!
//! Matrices start from a Xavier normal distribution, q and k with gain 1; these are the decoder-only values.

use super::{Decay, NormStrategy, QkNorm, RMS_EPS, SchemeOptions, Statistics, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, GainRole, HeadPlan, Init, LinearPlan, MixPlan, NormPlan, ResidualPlan,
    WeightPlan,
};
use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Post-norm that stays stable at a thousand layers.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, plan::MixPlan, strategy::DeepNorm};
/// let config = ModelConfig { layers: 8, ..Default::default() };
/// let plan = Plan::new(&config, &DeepNorm::default())?;
/// assert_eq!(plan.layers[0].mlp_residual.mix, MixPlan::Scaled { skip: 2.0 });
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DeepNorm {
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

impl Default for DeepNorm {
    fn default() -> Self {
        Self {
            qk: QkNorm::None,
            norm: Statistics::Layer,
            eps: RMS_EPS,
            decay: Decay::Matrices,
        }
    }
}

impl DeepNorm {
    fn norm(&self) -> NormPlan {
        self.norm
            .norm(self.eps, GainRole::Output)
            .decayed(self.decay.gains())
    }
}

impl SchemeOptions for DeepNorm {
    const NAME: &'static str = "deep_norm";
    const ABOUT: &'static str =
        "DeepNorm: post-norm with an up-weighted skip connection (2203.00555).";
}

impl NormStrategy for DeepNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, d: &Dims) -> ResidualPlan {
        ResidualPlan {
            mix: MixPlan::Scaled {
                skip: (2.0 * d.layers as f64).powf(0.25),
            },
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
        let gain = match site {
            Site::Embedding | Site::Positions | Site::Head => {
                return WeightInit::Gpt2.weight(layer, site, d);
            }
            Site::Q | Site::K | Site::Router => 1.0,
            _ => (8.0 * d.layers as f64).powf(-0.25),
        };
        let [input, output] = site.shape(d);
        WeightPlan {
            init: Init::Normal {
                std: gain * (2.0 / (input + output) as f64).sqrt(),
            },
            constraint: Constraint::Free,
            decay: true,
        }
    }
}
