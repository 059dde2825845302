//! Normalization schemes: one file each, one line each in the registry.
//!
//! A strategy is consulted while a model is built and never afterwards: it returns plans, and the modules of
//! [`crate::modules`] carry them out.

mod angpt;
mod deep_norm;
mod derf;
mod dyt;
mod geo_norm;
mod hybrid_norm;
mod keel;
mod ln_scaling;
mod ngpt;
mod olmo2;
mod peri_norm;
mod post_norm;
mod pre_norm;
mod registry;
pub(crate) mod scheme;
mod scores;
mod siamese_norm;
mod simple_norm;
mod weight_init;

pub use angpt::{AnGpt, FactorScales, GateScale, ResidualFactor};
pub use deep_norm::DeepNorm;
pub use derf::Derf;
pub use dyt::{Bias, DyT, EmbedScalar};
pub use geo_norm::{AngleDecay, FinalNorm, GeoNorm};
pub use hybrid_norm::{FirstLayer, HybridNorm};
pub use keel::{FirstBlock, Keel};
pub use ln_scaling::LnScaling;
pub use ngpt::{Ngpt, RowNorm};
pub use olmo2::Olmo2;
pub use peri_norm::{EmbedNorm, EmbedScale, GainForm, PeriNorm};
pub use post_norm::PostNorm;
pub use pre_norm::PreNorm;
pub use scheme::{Scheme, SchemeOptions};
pub use scores::{HeadNorm, QkNorm, SoftmaxGain};
pub use siamese_norm::{SiameseNorm, Streams};
pub use simple_norm::{RouterNorm, SimpleNorm};
pub use weight_init::{Decay, WeightInit};

pub(crate) use registry::built_in;

use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    AttentionPlan, Combine, EmbeddingPlan, GainRole, HeadPlan, Init, LinearPlan, MlpPlan, NormPlan,
    ResidualPlan, WeightPlan,
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

    /// The residual connection around one branch: what is normalized, and how the branch's output joins the stream.
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

    /// Normalization and scales between the projections of attention.
    fn attention(&self, _layer: usize, d: &Dims) -> AttentionPlan {
        AttentionPlan::plain(d.head)
    }

    /// Constants inside the MLP, and how the outputs of experts join.
    fn mlp(&self, _layer: usize, _d: &Dims) -> MlpPlan {
        MlpPlan {
            before: 1.0,
            after: 1.0,
            combine: Combine::Sum,
        }
    }

    /// What stands behind the embedding table: by default nothing.
    fn embedding(&self, _d: &Dims) -> EmbeddingPlan {
        EmbeddingPlan::plain()
    }

    /// What stands between the last block and the logits, beside the output layer's matrix: by default a final RMSNorm.
    fn head(&self, _d: &Dims) -> HeadPlan {
        HeadPlan {
            final_norm: Some(NormPlan::rms(RMS_EPS, GainRole::Input)),
            ..HeadPlan::plain()
        }
    }

    /// Initial distribution, constraint and weight decay of a matrix; `layer` is 0 for embedding and output layer.
    fn weight(&self, _layer: usize, _site: Site, _d: &Dims) -> WeightPlan {
        WeightPlan {
            init: Init::Normal { std: 0.02 },
            constraint: Constraint::Free,
            decay: true,
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

/// Whether a vector is divided by its length, in the places that a scheme may leave alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitNorm {
    /// Its length is exactly 1.
    #[default]
    Unit,
    /// It stays as it is.
    None,
}

impl UnitNorm {
    /// The normalization of the whole vector.
    pub(crate) fn plan(self) -> Option<NormPlan> {
        match self {
            Self::Unit => Some(NormPlan::unit()),
            Self::None => None,
        }
    }
}
