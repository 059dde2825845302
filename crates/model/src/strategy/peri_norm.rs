//! Peri-LN (2502.02732): `h + N_o(branch(N_i(h)))`, a norm on both sides of each branch and on the embedding.
//!
//! Gemma 2 and 3 have the same blocks; they store gains as `1 + g`, scale the embedding by the square root of its
//! width and do not normalize it.

use super::{Decay, NormStrategy, QkNorm, RMS_EPS, SchemeOptions, Statistics, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, EmbeddingPlan, Form, GainRole, HeadPlan, LinearPlan, NormPlan, ResidualPlan,
    WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the embedded tokens are normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbedNorm {
    /// As Peri-LN does.
    Normalized,
    /// As they are.
    None,
}

/// What multiplies the embedded tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbedScale {
    /// Nothing.
    One,
    /// The square root of the model's width, as Gemma does.
    SqrtDim,
}

/// How gains are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GainForm {
    /// As `g`.
    Gain,
    /// As `g - 1`: Gemma's, where weight decay pulls gains to 1.
    OnePlus,
}

/// Norms before and after each branch.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::PeriNorm};
/// let plan = Plan::new(&ModelConfig::default(), &PeriNorm::default())?;
/// let around = &plan.layers[0].mlp_residual;
/// assert!(around.input.is_some() && around.output.is_some() && plan.ends.embedding.norm.is_some());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PeriNorm {
    /// Normalization of q and k: `none`; with a gain before the rotation, `head` or `full`; without one behind it, `unit`
    /// (both) or `keys` (k alone).
    pub qk: QkNorm,
    /// Normalization of the embedded tokens: `normalized` or `none`.
    pub embed_norm: EmbedNorm,
    /// Constant on the embedded tokens: `one` or `sqrt_dim`.
    pub embed_scale: EmbedScale,
    /// How gains are stored: `gain` or `one_plus`.
    pub gain: GainForm,
    /// RMSNorm or LayerNorm: `rms` or `layer`.
    pub norm: Statistics,
    /// Epsilon of every normalization.
    pub eps: f64,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for PeriNorm {
    fn default() -> Self {
        Self {
            qk: QkNorm::None,
            embed_norm: EmbedNorm::Normalized,
            embed_scale: EmbedScale::One,
            gain: GainForm::Gain,
            norm: Statistics::Rms,
            eps: RMS_EPS,
            start: WeightInit::SimpleGpt,
            decay: Decay::Matrices,
        }
    }
}

impl PeriNorm {
    fn norm(&self, role: GainRole) -> NormPlan {
        let norm = self.norm.norm(self.eps, role).decayed(self.decay.gains());
        match self.gain {
            GainForm::Gain => norm,
            GainForm::OnePlus => norm.stored_as(Form::OnePlus),
        }
    }
}

impl SchemeOptions for PeriNorm {
    const NAME: &'static str = "peri_norm";
    const ABOUT: &'static str = "Norms before and after each branch (2502.02732; Gemma 2 and 3).";
}

impl NormStrategy for PeriNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            input: Some(self.norm(GainRole::Input)),
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

    fn embedding(&self, d: &Dims) -> EmbeddingPlan {
        EmbeddingPlan {
            factor: match self.embed_scale {
                EmbedScale::One => 1.0,
                EmbedScale::SqrtDim => (d.model as f64).sqrt(),
            },
            norm: match self.embed_norm {
                EmbedNorm::Normalized => Some(self.norm(GainRole::Output)),
                EmbedNorm::None => None,
            },
            ..EmbeddingPlan::plain()
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
