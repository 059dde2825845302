//! What is done with a direction as a whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Orthogonal;

/// From a direction to a step of a given size.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Shaping {
    /// Nothing.
    #[default]
    None,
    /// The sign of every entry: Lion, and Scion's step where single entries matter.
    Sign,
    /// Singular values towards one: Muon.
    Orthogonal(Orthogonal),
}

impl Shaping {
    pub(crate) fn check(&self, shape: [usize; 3]) -> Result<(), String> {
        match self {
            Self::None | Self::Sign => Ok(()),
            Self::Orthogonal(orthogonal) => orthogonal.check(shape),
        }
    }
}
