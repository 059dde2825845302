//! `SiameseNorm` (2602.08064): two streams of one branch, one normalized after each sum and one never.
//!
//! ```text
//! x = N_x(x);   z = branch( N_i( x + N_y(y) ) );   x = x + z / sqrt(2 (l + 1));   y = y + z
//! ```
//!
//! in block `l` from 0, from `x = y = embedding` to `N_f(N_x(x) + N_y(y))`, each norm with a gain of its own (the authors'
//! code, `SiameseNorm` for `DeiT`). Their language models have another attention: it reads `c x + N_y(y)` with a learned
//! vector `c`, where `x` is not normalized and q, k and v are, head by head.

use super::{Decay, NormStrategy, RMS_EPS, SchemeOptions, WeightInit};
use crate::dims::{Branch, Dims, Site};
use crate::plan::{
    CompanionPlan, GainPlan, GainRole, HeadPlan, JoinPlan, LinearPlan, NormPlan, ResidualPlan,
    WeightPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the two streams are normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Streams {
    /// Post-norm beside pre-norm around both branches.
    PostPre,
    /// The same around the MLP; attention as in `HybridNorm`, with q, k and v normalized head by head.
    HybridPre,
}

/// A post-normed stream beside a pre-normed one.
///
/// ```
/// use evenburn_model::{ModelConfig, Plan, strategy::SiameseNorm};
/// let plan = Plan::new(&ModelConfig::default(), &SiameseNorm::default())?;
/// assert!(plan.layers[0].attn_residual.companion.is_some() && plan.ends.head.join.is_some());
/// # Ok::<(), evenburn_model::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SiameseNorm {
    /// How the two streams are normalized: `post_pre` or `hybrid_pre`.
    pub streams: Streams,
    /// Epsilon of every RMSNorm.
    pub eps: f64,
    /// Initial weights: `simple_gpt`, `gpt2` or `sdd`.
    pub start: WeightInit,
    /// Which parameters decay: `all` or `matrices`.
    pub decay: Decay,
}

impl Default for SiameseNorm {
    fn default() -> Self {
        Self {
            streams: Streams::PostPre,
            eps: RMS_EPS,
            start: WeightInit::SimpleGpt,
            decay: Decay::Matrices,
        }
    }
}

impl SiameseNorm {
    fn norm(&self, role: GainRole) -> NormPlan {
        NormPlan::rms(self.eps, role).decayed(self.decay.gains())
    }
}

impl SchemeOptions for SiameseNorm {
    const NAME: &'static str = "siamese_norm";
    const ABOUT: &'static str =
        "SiameseNorm: a post-normed stream beside a pre-normed one (2602.08064).";
}

impl NormStrategy for SiameseNorm {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn residual(&self, layer: usize, branch: Branch, _: &Dims) -> ResidualPlan {
        let companion = CompanionPlan {
            scale: None,
            norm: Some(self.norm(GainRole::Output)),
            factor: (2.0 * (layer as f64 + 1.0)).sqrt().recip(),
        };
        match (self.streams, branch) {
            (Streams::HybridPre, Branch::Attention) => ResidualPlan {
                companion: Some(CompanionPlan {
                    scale: Some(GainPlan::ones(GainRole::Output).decayed(self.decay.gains())),
                    ..companion
                }),
                ..ResidualPlan::plain()
            },
            (Streams::PostPre, _) | (_, Branch::Mlp) => ResidualPlan {
                stream: Some(self.norm(GainRole::Output)),
                companion: Some(companion),
                input: Some(self.norm(GainRole::Input)),
                ..ResidualPlan::plain()
            },
        }
    }

    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        let norm = match (self.streams, site) {
            (Streams::HybridPre, Site::Q | Site::K) => Some(self.norm(GainRole::Output).per_head()),
            // Attention mixes tokens and not channels: the output projection could absorb this gain.
            (Streams::HybridPre, Site::V) => Some(self.norm(GainRole::Input).per_head()),
            _ => None,
        };
        LinearPlan {
            norm,
            ..LinearPlan::default()
        }
    }

    fn head(&self, _: &Dims) -> HeadPlan {
        let end = || Some(self.norm(GainRole::Output));
        HeadPlan {
            join: Some(JoinPlan {
                stream: end(),
                companion: end(),
            }),
            final_norm: Some(self.norm(GainRole::Input)),
            ..HeadPlan::plain()
        }
    }

    fn weight(&self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        self.start.weight(layer, site, d)
    }
}
