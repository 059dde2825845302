//! Normalization schemes: one file each, one line each in the registry.
//!
//! A strategy is consulted while a model is built and never afterwards: it returns plans, and the atoms of
//! [`crate::atoms`] carry them out.

mod angpt;
mod deep_norm;
mod derf;
mod dyt;
mod geo_norm;
mod hybrid_norm;
mod ln_scaling;
mod ngpt;
mod olmo2;
mod peri_norm;
mod post_norm;
mod pre_norm;
mod registry;
mod siamese_norm;
mod simple_norm;
mod start;

pub use angpt::{AnGpt, FactorScales, QkGain, ResidualFactor};
pub use deep_norm::DeepNorm;
pub use derf::Derf;
pub use dyt::{Bias, DyT, EmbedScalar};
pub use geo_norm::{AngleDecay, FinalNorm, GeoNorm};
pub use hybrid_norm::{FirstLayer, HybridNorm};
pub use ln_scaling::LnScaling;
pub use ngpt::{Ngpt, RowNorm};
pub use olmo2::Olmo2;
pub use peri_norm::{EmbedNorm, EmbedScale, GainForm, PeriNorm};
pub use post_norm::PostNorm;
pub use pre_norm::PreNorm;
pub use registry::Scheme;
pub use siamese_norm::{SiameseNorm, Streams};
pub use simple_norm::{RouterNorm, SimpleNorm};
pub use start::{Decay, Start};

use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionFactor, AttentionPlan, Combine, EndsPlan, GainRole, Init, LinearPlan, MlpPlan,
    NormPlan, ResidualPlan, WeightPlan,
};
use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Epsilon of RMSNorm in Llama and in the code of SimpleGPT (`norm_eps`).
pub(crate) const RMS_EPS: f64 = 1e-5;

/// Every decision a normalization scheme makes, and nothing else.
///
/// The defaults are a pre-norm decoder: `h + branch(RMSNorm(h))`, a final RMSNorm, softmax scale `1 / sqrt(K)`,
/// normal weights of deviation 0.02 that decay. A scheme overrides what it changes.
///
/// ```
/// use evenburn_model::{Branch, Dims, ModelConfig, Plan};
/// use evenburn_model::plan::{GainRole, NormPlan, ResidualPlan};
/// use evenburn_model::strategy::NormStrategy;
///
/// /// Normalizes what a branch writes instead of what it reads.
/// #[derive(Debug)]
/// struct OutputNorm;
///
/// impl NormStrategy for OutputNorm {
///     fn name(&self) -> &str {
///         "output_norm"
///     }
///     fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
///         let output = Some(NormPlan::rms(1e-5, GainRole::Output));
///         ResidualPlan { output, ..ResidualPlan::plain() }
///     }
/// }
///
/// let plan = Plan::new(&ModelConfig::default(), &OutputNorm)?;
/// assert!(plan.layers[0].attn_residual.input.is_none());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
pub trait NormStrategy: Debug + Send + Sync {
    /// A short name for tables and records.
    fn name(&self) -> &str;

    /// The way of the residual stream around one branch.
    fn residual(&self, _layer: usize, _branch: Branch, _d: &Dims) -> ResidualPlan {
        ResidualPlan {
            input: Some(NormPlan::rms(RMS_EPS, GainRole::Input)),
            ..ResidualPlan::plain()
        }
    }

    /// What stands around the product of one linear map of a block.
    fn linear(&self, _layer: usize, _site: Site, _d: &Dims) -> LinearPlan {
        LinearPlan::default()
    }

    /// Decisions between the projections of attention.
    fn attention(&self, _layer: usize, d: &Dims) -> AttentionPlan {
        AttentionPlan {
            qk_norm: None,
            qk_gain: None,
            softmax_scale: (d.head as f64).sqrt().recip(),
            factor: AttentionFactor::None,
        }
    }

    /// Decisions between the branches of the MLP.
    fn mlp(&self, _layer: usize, _d: &Dims) -> MlpPlan {
        MlpPlan {
            before: 1.0,
            after: 1.0,
            combine: Combine::Sum,
        }
    }

    /// Decisions at both ends of the decoder.
    fn ends(&self, _d: &Dims) -> EndsPlan {
        EndsPlan {
            final_norm: Some(NormPlan::rms(RMS_EPS, GainRole::Input)),
            ..EndsPlan::plain()
        }
    }

    /// What a matrix starts as, where it may go and whether it decays; `layer` is 0 for the two ends.
    fn weight(&self, _layer: usize, _site: Site, _d: &Dims) -> WeightPlan {
        WeightPlan {
            init: Init::Normal { std: 0.02 },
            constraint: Constraint::Free,
            decay: true,
        }
    }
}

/// Where queries and keys are normalized in the schemes that leave it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Not at all.
    None,
    /// Each head by itself.
    Head,
    /// The whole projected vector, before it is split into heads.
    Full,
}

impl QkNorm {
    /// What this makes of a normalization at a site: it stands behind q and k only, and the rotation follows, so no
    /// linear map could absorb its gain.
    pub(crate) fn linear(self, site: Site, norm: NormPlan) -> LinearPlan {
        let norm = match (site, self) {
            (Site::Q | Site::K, Self::Head) => Some(norm.per_head()),
            (Site::Q | Site::K, Self::Full) => Some(norm),
            _ => None,
        };
        LinearPlan {
            norm,
            ..LinearPlan::default()
        }
    }
}

/// Which statistics a normalization layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistics {
    /// RMSNorm: the mean square.
    Rms,
    /// LayerNorm without a bias: mean and variance.
    Layer,
}

impl Statistics {
    /// A normalization of the whole vector with a gain of ones.
    pub(crate) fn norm(self, eps: f64, role: GainRole) -> NormPlan {
        match self {
            Self::Rms => NormPlan::rms(eps, role),
            Self::Layer => NormPlan::layer(eps, role),
        }
    }
}

/// Whether the schemes whose q/k norm has one form have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadNorm {
    /// Heads of q and k have unit length.
    #[default]
    Unit,
    /// They keep the length that the projection gives them.
    None,
}
