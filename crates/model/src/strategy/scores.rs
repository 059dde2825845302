//! What schemes decide about queries, keys and the scores between them.
//!
//! `K` head width.

use crate::dims::{Dims, Site};
use crate::plan::{AttentionPlan, GainPlan, LinearPlan, NormPlan, Normed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where queries and keys are normalized in the schemes that leave it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Not at all.
    None,
    /// Each head by itself, with a gain, before the rotation.
    Head,
    /// The whole projected vector, with a gain, before it is split into heads.
    Full,
    /// Each head divided by its length, without a gain, after the rotation (GPT+ of 2505.22014, Table 1).
    Unit,
    /// The heads of k alone divided by their lengths, without a gain (QUEST, 2604.00199).
    Keys,
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

    /// What it makes of the scores: the scale of heads of unit length is `sqrt(K)` and learned, that of q and unit keys
    /// exactly 1.
    pub(crate) fn attention(self, d: &Dims) -> AttentionPlan {
        self.scored(None, None, d)
    }

    /// The same with another scale, which is where a learned one starts.
    pub(crate) fn scored(
        self,
        gain: Option<SoftmaxGain>,
        scale: Option<f64>,
        d: &Dims,
    ) -> AttentionPlan {
        let root = (d.head as f64).sqrt();
        let unit = Some(NormPlan::unit().per_head());
        let (qk_norm, normed, own, learned) = match self {
            Self::None | Self::Head | Self::Full => {
                (None, Normed::Both, root.recip(), SoftmaxGain::None)
            }
            Self::Unit => (unit, Normed::Both, root, SoftmaxGain::Learned),
            Self::Keys => (unit, Normed::Keys, 1.0, SoftmaxGain::None),
        };
        AttentionPlan {
            qk_norm,
            normed,
            ..gain
                .unwrap_or(learned)
                .plan(scale.unwrap_or(own), AttentionPlan::plain(d.head))
        }
    }
}

/// Whether the scale of the scores is a constant or one learned scalar for each layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SoftmaxGain {
    /// A constant.
    None,
    /// A learned scalar, stored as itself (2505.22014, Table 1).
    Learned,
}

impl SoftmaxGain {
    /// The plan with `scale` as the constant or as the scalar's initial value.
    pub(crate) fn plan(self, scale: f64, plan: AttentionPlan) -> AttentionPlan {
        match self {
            Self::None => AttentionPlan {
                softmax_scale: scale,
                ..plan
            },
            Self::Learned => AttentionPlan {
                softmax_scale: 1.0,
                softmax_gain: Some(GainPlan::scalar(scale)),
                ..plan
            },
        }
    }
}

/// Whether nGPT and anGPT normalize q and k: both know unit length per head and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadNorm {
    /// Heads of q and k have unit length.
    #[default]
    Unit,
    /// They keep the length that the projection gives them.
    None,
}

impl HeadNorm {
    /// The normalization of q and k after the rotation.
    pub(crate) fn plan(self) -> Option<NormPlan> {
        match self {
            Self::Unit => Some(NormPlan::unit().per_head()),
            Self::None => None,
        }
    }
}
