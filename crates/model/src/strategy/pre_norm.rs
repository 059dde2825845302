//! Pre-norm: `h + branch(N(h))` with N = RMSNorm, a final N before the output layer.
//!
//! With `qk = "unit"` this is GPT+ as its paper prints it (2505.22014, Table 1), with `qk = "head"` as some of its
//! printed sizes have it; with `qk = "full"` SimpleGPT's LLaMA2 + QKNorm; with `qk = "keys"` QUEST (2604.00199); with
//! `qk = "none"` Llama 2.

use super::{
    Bias, Decay, NormStrategy, QkNorm, RMS_EPS, SchemeOptions, SoftmaxGain, Statistics, WeightInit,
};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, GainRole, HeadPlan, LinearPlan, NormPlan, ResidualPlan, WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pre-norm with RMSNorm or LayerNorm.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::{PreNorm, QkNorm}};
/// let llama = PreNorm { qk: QkNorm::None, ..PreNorm::default() };
/// let plan = Plan::new(&ModelConfig::default(), &llama)?;
/// assert!(plan.layers[0].q.linear.norm.is_none());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreNorm {
    /// Normalization of q and k: `none`; with a gain before the rotation, `head` or `full`; without one behind it, `unit`
    /// (both) or `keys` (k alone).
    pub qk: QkNorm,
    /// Scale of the scores: `none` (the constant) or `learned` (one scalar a layer); when not given learned under
    /// `qk = "unit"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softmax_gain: Option<SoftmaxGain>,
    /// That constant, or where the scalar starts; when not given sqrt(head width) under `qk = "unit"`, 1 under
    /// `qk = "keys"`, else 1 / sqrt(head width).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub softmax_scale: Option<f64>,
    /// RMSNorm or LayerNorm: `rms` or `layer`.
    pub norm: Statistics,
    /// Learned vector behind the normalizations of the stream: `none` or `learned` (GPT-2).
    pub bias: Bias,
    /// Epsilon of every normalization.
    pub eps: f64,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for PreNorm {
    fn default() -> Self {
        Self {
            qk: QkNorm::Head,
            softmax_gain: None,
            softmax_scale: None,
            norm: Statistics::Rms,
            bias: Bias::None,
            eps: RMS_EPS,
            start: WeightInit::SimpleGpt,
            decay: Decay::Matrices,
        }
    }
}

impl PreNorm {
    fn norm(&self, role: GainRole) -> NormPlan {
        self.norm.norm(self.eps, role).decayed(self.decay.gains())
    }

    fn stream(&self, role: GainRole) -> NormPlan {
        NormPlan {
            bias: self.bias.plan(self.decay),
            ..self.norm(role)
        }
    }
}

impl SchemeOptions for PreNorm {
    const NAME: &'static str = "pre_norm";
    const ABOUT: &'static str =
        "RMSNorm before each branch, with or without q/k norm; GPT+ when the q/k norm is per head.";
}

impl NormStrategy for PreNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            input: Some(self.stream(GainRole::Input)),
            ..ResidualPlan::plain()
        }
    }

    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        self.qk.linear(site, self.norm(GainRole::Output))
    }

    fn attention(&self, _: usize, d: &Dims) -> AttentionPlan {
        let plan = self.qk.scored(self.softmax_gain, self.softmax_scale, d);
        AttentionPlan {
            softmax_gain: plan
                .softmax_gain
                .map(|gain| gain.decayed(self.decay.gains())),
            ..plan
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan {
            final_norm: Some(self.stream(GainRole::Input)),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
