//! What a parameter is, as far as its training goes.

use evenburn_geometry::{Axis, Constraint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Blocks;

/// What a parameter is, as far as its training goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamRole {
    /// The embedding table.
    Embedding,
    /// A linear map inside a block.
    Matrix,
    /// The map to the logits.
    Head,
    /// A learned scale.
    Gain,
    /// A learned shift.
    Bias,
}

impl ParamRole {
    /// The group of the parameters of this role.
    pub fn group(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Matrix => "matrices",
            Self::Head => "head",
            Self::Gain => "gains",
            Self::Bias => "biases",
        }
    }

    /// Whether it is a vector or a scalar.
    pub fn is_vector(self) -> bool {
        matches!(self, Self::Gain | Self::Bias)
    }
}

/// What [`rules`](crate::rules) needs to know of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamInfo {
    /// Its exact path in the module.
    pub path: String,
    /// What it is.
    pub role: ParamRole,
    /// What it is projected onto after each step.
    pub constraint: Constraint,
    /// Whether it decays.
    pub decay: bool,
    /// The axis that is the residual stream; [`Axis::Out`] for a vector.
    pub stream: Axis,
    /// The heads that its outputs belong to, where they do.
    pub heads: Option<Heads>,
}

/// The heads that the outputs of a matrix belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// How many.
    pub count: usize,
    /// What attention makes of them.
    pub serves: HeadUse,
}

/// What attention makes of a matrix's heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadUse {
    /// Scores: queries and keys.
    Scores,
    /// Means: values.
    Values,
}

impl ParamInfo {
    /// The axis along which a row runs: what makes one output, or a token's vector.
    pub fn row(&self) -> Axis {
        match self.role {
            ParamRole::Embedding => Axis::Out,
            ParamRole::Matrix | ParamRole::Head | ParamRole::Gain | ParamRole::Bias => Axis::In,
        }
    }

    /// The blocks that share a mean square in Adam-mini.
    pub(crate) fn blocks(&self) -> Blocks {
        let scores = self.heads.filter(|heads| heads.serves == HeadUse::Scores);
        match (self.role, scores) {
            (ParamRole::Gain | ParamRole::Bias, _) => Blocks::Tensor,
            (ParamRole::Embedding, _) => Blocks::Input,
            // Adam-mini's code has a block for each head of q and k, and one for each output of v and of everything else.
            (ParamRole::Matrix, Some(heads)) => Blocks::Heads(heads.count),
            (ParamRole::Matrix | ParamRole::Head, _) => Blocks::Output,
        }
    }
}
