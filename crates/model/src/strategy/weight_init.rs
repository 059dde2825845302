//! Initial weights shared by the schemes that leave their matrices free.

use crate::dims::{Dims, Site};
use crate::plan::{Init, WeightPlan};
use evenburn_geometry::Constraint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which parameters decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Every parameter, gains and the embedding too, as in the code of SimpleGPT.
    All,
    /// Tensors of rank 2 and more, as in GPT-2 and in nGPT's baseline.
    Matrices,
}

impl Decay {
    /// Whether learned scales decay.
    pub(crate) fn gains(self) -> bool {
        self == Self::All
    }
}

/// Initial distributions of matrices without a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightInit {
    /// SimpleGPT's code: embedding of deviation 1, matrices 0.02, those that write or multiply into the stream
    /// (o, down, up) 0.02 / sqrt(2 (layer + 1)), output layer 1 / sqrt(D) cut at 3 deviations.
    SimpleGpt,
    /// GPT-2's: 0.02 everywhere, o and down 0.02 / sqrt(2 L).
    Gpt2,
    /// SDD's: 1 / sqrt(2.5 D) in every linear map (2502.15499); here in the embedding and the output layer too.
    Sdd,
}

/// Deviation of most matrices (GPT-2; SimpleGPT's `init_std`).
const STD: f64 = 0.02;

impl WeightInit {
    /// The plan of a free, decaying matrix.
    pub(crate) fn weight(self, layer: usize, site: Site, d: &Dims) -> WeightPlan {
        let init = match (self, site) {
            (Self::SimpleGpt, Site::Embedding) => Init::Normal { std: 1.0 },
            (Self::SimpleGpt, Site::Head) => Init::TruncatedNormal {
                std: (d.model as f64).sqrt().recip(),
                cut: 3.0,
            },
            (Self::SimpleGpt, Site::O | Site::Down | Site::Up) => Init::Normal {
                std: STD / (2.0 * (layer + 1) as f64).sqrt(),
            },
            (Self::Gpt2, Site::O | Site::Down) => Init::Normal {
                std: STD / (2.0 * d.layers as f64).sqrt(),
            },
            (Self::Sdd, _) => Init::Normal {
                std: (2.5 * d.model as f64).sqrt().recip(),
            },
            _ => Init::Normal { std: STD },
        };
        WeightPlan {
            init,
            constraint: Constraint::Free,
            decay: true,
        }
    }
}
