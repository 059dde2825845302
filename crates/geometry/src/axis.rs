//! The two axes of a weight matrix, by role.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An axis of a weight, named by what it does rather than by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// What the map reads: the last dimension but one (the vocabulary of an embedding table).
    In,
    /// What the map writes: the last dimension. The only axis of a vector.
    Out,
}

impl Axis {
    /// The dimension of this axis in a tensor of `rank` dimensions, `None` where it has none: a
    /// vector has no [`Axis::In`], a scalar neither.
    ///
    /// ```
    /// use evenburn_geometry::Axis;
    ///
    /// assert_eq!(Axis::In.dim(2), Some(0)); // [In, Out]
    /// assert_eq!(Axis::In.dim(3), Some(1)); // [E, In, Out]
    /// assert_eq!(Axis::Out.dim(1), Some(0)); // a vector
    /// assert_eq!(Axis::In.dim(1), None);
    /// ```
    pub fn dim(self, rank: usize) -> Option<usize> {
        match self {
            Self::In => rank.checked_sub(2),
            Self::Out => rank.checked_sub(1),
        }
    }

    /// The other axis of a matrix.
    pub fn other(self) -> Self {
        match self {
            Self::In => Self::Out,
            Self::Out => Self::In,
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}
