//! Gradients of bounded length.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Added to the norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does.
const CLIP_EPS: f64 = 1e-6;

/// The largest norm of gradients; larger ones are scaled down to it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "over", rename_all = "snake_case")]
pub enum Clip {
    /// Any norm goes.
    #[default]
    None,
    /// That of all gradients together.
    All {
        /// The largest.
        max: f64,
    },
    /// That of each group's gradients by itself.
    Groups {
        /// The largest of each.
        max: f64,
    },
}

/// `min(1, max / (norm + 1e-6))`.
fn factor(max: f64, norm: f64) -> f64 {
    (max / (norm + CLIP_EPS)).min(1.0)
}

impl Clip {
    /// What a group's gradients are multiplied by.
    pub(crate) fn factor(self, all: f64, group: f64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::All { max } => factor(max, all),
            Self::Groups { max } => factor(max, group),
        }
    }
}
