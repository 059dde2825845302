//! `GeoNorm` (2601.22095): branches turn the stream and never change its length.
//!
//! ```text
//! h = exp_h( delta_l P_h f(h) ),   P_h x = x - (h . x / |h|^2) h
//! ```
//!
//! A step along a great circle of the sphere of radius `|h|`, by an angle that later blocks make smaller; the details are
//! those of [`Geodesic`]. A branch reads the stream itself. As printed (appendix D), the harmonic decay is assigned to a
//! variable that nothing reads; the intended form is taken. The paper prints neither a norm of the embedding nor a final
//! one.

use super::{EmbedNorm, NormStrategy, RMS_EPS, SchemeOptions, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{EmbeddingPlan, GainRole, HeadPlan, MixPlan, NormPlan, ResidualPlan, WeightPlan};
use crate::rule::Geodesic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::FRAC_PI_4;

/// What multiplies the angles of block `l` of `L`, counted from 0; both branches of a block share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AngleDecay {
    /// `1 / (l + 1)`, the paper's best.
    Harmonic,
    /// `1 / sqrt(l + 1)`.
    Sqrt,
    /// `(L - l) / L`.
    Linear,
}

/// Whether the stream is normalized before the output layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinalNorm {
    /// No.
    None,
    /// RMSNorm with a gain.
    Rms,
    /// LayerNorm with a gain.
    Layer,
}

impl FinalNorm {
    /// The normalization, with a gain that starts at 1.
    pub(crate) fn plan(self, eps: f64) -> Option<NormPlan> {
        match self {
            Self::None => None,
            Self::Rms => Some(NormPlan::rms(eps, GainRole::Input)),
            Self::Layer => Some(NormPlan::layer(eps, GainRole::Input)),
        }
    }
}

/// Turns on the sphere in place of a sum and its normalization.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, plan::MixPlan, strategy::GeoNorm};
/// let plan = Plan::new(&ModelConfig::default(), &GeoNorm::default())?;
/// let around = &plan.layers[0].mlp_residual;
/// assert!(around.input.is_none() && matches!(around.mix, MixPlan::Rule { .. }));
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GeoNorm {
    /// How the angles of later blocks shrink: `harmonic`, `sqrt` or `linear`.
    pub decay: AngleDecay,
    /// Largest angle of one step, in radians.
    pub clamp: f64,
    /// Normalization of the embedded tokens: `normalized` or `none`.
    pub embed_norm: EmbedNorm,
    /// Normalization before the output layer: `none`, `rms` or `layer`.
    pub final_norm: FinalNorm,
    /// Epsilon of the two normalizations at the ends.
    pub eps: f64,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
}

impl Default for GeoNorm {
    fn default() -> Self {
        Self {
            decay: AngleDecay::Harmonic,
            clamp: FRAC_PI_4,
            embed_norm: EmbedNorm::None,
            final_norm: FinalNorm::None,
            eps: RMS_EPS,
            start: WeightInit::SimpleGpt,
        }
    }
}

impl SchemeOptions for GeoNorm {
    const NAME: &'static str = "geo_norm";
    const ABOUT: &'static str =
        "GeoNorm: the stream turns on the sphere that the embedding puts it on (2601.22095).";
}

impl NormStrategy for GeoNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, layer: usize, _: Branch, d: &Dims) -> ResidualPlan {
        let block = layer as f64;
        let factor = match self.decay {
            AngleDecay::Harmonic => (block + 1.0).recip(),
            AngleDecay::Sqrt => (block + 1.0).sqrt().recip(),
            AngleDecay::Linear => (d.layers as f64 - block) / d.layers as f64,
        };
        let clamp = self.clamp;
        ResidualPlan {
            mix: MixPlan::Rule {
                rule: Geodesic { factor, clamp }.into(),
            },
            ..ResidualPlan::plain()
        }
    }

    fn embedding(&self, _: &Dims) -> EmbeddingPlan {
        EmbeddingPlan {
            norm: match self.embed_norm {
                EmbedNorm::Normalized => Some(NormPlan::rms(self.eps, GainRole::Output)),
                EmbedNorm::None => None,
            },
            ..EmbeddingPlan::plain()
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan {
            final_norm: self.final_norm.plan(self.eps),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
