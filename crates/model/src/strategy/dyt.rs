//! DyT (2503.10622): `w * tanh(a x) + b` in the places of pre-norm, with a learned scalar behind the embedding.
//!
//! Initial slopes of the paper's LLaMA runs (before attention, before the MLP, final): 0.8, 0.2, 0.2 at 7B; 0.6,
//! 0.15, 0.15 at 13B; 0.2, 0.05, 0.05 at 34B and 70B; 0.5 everywhere else.

use super::{Decay, NormStrategy, SchemeOptions, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::function::Tanh;
use crate::plan::{
    BiasPlan, EmbeddingPlan, Form, GainPlan, GainRole, GainShape, HeadPlan, NormPlan, ResidualPlan,
    WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the embedded tokens have a learned scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbedScalar {
    /// One, starting at the square root of the model's width, as in the paper's LLaMA runs.
    Learned,
    /// None.
    None,
}

/// Whether a pointwise function adds a learned vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    /// It does.
    Learned,
    /// It does not, as in the paper's LLaMA runs.
    None,
}

impl Bias {
    /// The plan of the vector.
    pub(crate) fn plan(self, decay: Decay) -> Option<BiasPlan> {
        match self {
            Self::Learned => Some(BiasPlan {
                decay: decay.gains(),
            }),
            Self::None => None,
        }
    }
}

/// tanh in place of normalization.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, function::Tanh, strategy::DyT};
/// let plan = Plan::new(&ModelConfig::default(), &DyT::default())?;
/// let kind = plan.ends.head.final_norm.as_ref().map(|norm| norm.function.clone());
/// assert_eq!(kind, Some(Tanh { slope: 0.2 }.into()));
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DyT {
    /// Initial slope before attention.
    pub slope_attn: f64,
    /// Initial slope before the MLP.
    pub slope_mlp: f64,
    /// Initial slope before the output layer.
    pub slope_final: f64,
    /// Learned scalar on the embedded tokens: `learned` or `none`.
    pub embed_scalar: EmbedScalar,
    /// Learned vector behind the function: `learned` or `none`.
    pub bias: Bias,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for DyT {
    fn default() -> Self {
        Self {
            slope_attn: 0.8,
            slope_mlp: 0.2,
            slope_final: 0.2,
            embed_scalar: EmbedScalar::Learned,
            bias: Bias::None,
            start: WeightInit::Gpt2,
            decay: Decay::Matrices,
        }
    }
}

impl DyT {
    fn norm(&self, slope: f64) -> NormPlan {
        let mut norm =
            NormPlan::pointwise(Tanh { slope }, GainRole::Input).decayed(self.decay.gains());
        norm.bias = self.bias.plan(self.decay);
        norm
    }
}

impl SchemeOptions for DyT {
    const NAME: &'static str = "dyt";
    const ABOUT: &'static str = "DyT: tanh in place of normalization (2503.10622).";
}

impl NormStrategy for DyT {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, _: usize, branch: Branch, _: &Dims) -> ResidualPlan {
        ResidualPlan {
            input: Some(self.norm(match branch {
                Branch::Attention => self.slope_attn,
                Branch::Mlp => self.slope_mlp,
            })),
            ..ResidualPlan::plain()
        }
    }

    fn embedding(&self, d: &Dims) -> EmbeddingPlan {
        let root = (d.model as f64).sqrt();
        EmbeddingPlan {
            gain: match self.embed_scalar {
                EmbedScalar::Learned => Some(GainPlan {
                    shape: GainShape::Scalar,
                    init: root,
                    scale: root,
                    form: Form::Direct,
                    role: GainRole::Output,
                    decay: self.decay.gains(),
                }),
                EmbedScalar::None => None,
            },
            ..EmbeddingPlan::plain()
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        HeadPlan {
            final_norm: Some(self.norm(self.slope_final)),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
