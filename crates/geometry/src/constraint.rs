//! The sets a weight may be confined to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Axis;

/// The set that a weight is projected onto after every optimizer step.
///
/// `w` below is one slice of the weight: all entries along `along`, everything else fixed. With
/// a leading expert axis each expert has its own slices.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Constraint {
    /// Anything: no constraint.
    #[default]
    Free,
    /// Every slice on the unit sphere, `w / |w|` (nGPT, arXiv 2410.01131, section 2).
    Unit {
        /// The axis the norm runs over.
        along: Axis,
    },
    /// Every slice in the ball of this radius, `w / max(1, |w| / radius)` (anGPT,
    /// arXiv 2505.22014, with radius 1 along the input).
    AtMost {
        /// The axis the norm runs over.
        along: Axis,
        /// The largest norm of a slice.
        radius: f64,
    },
    /// Every matrix on the sphere of this Frobenius norm, `W * radius / |W|_F`.
    Frobenius {
        /// The norm of each matrix.
        radius: f64,
    },
}

impl Constraint {
    /// Whether this constraint makes sense for a weight of `rank` dimensions.
    ///
    /// [`project`](crate::project) itself never fails; whoever sets up a training run asks here
    /// first.
    ///
    /// # Errors
    /// [`GeometryError::MissingAxis`] if the constraint runs along an axis such a weight doesn't
    /// have, [`GeometryError::Radius`] if its radius is not a positive finite number.
    ///
    /// ```
    /// use evenburn_geometry::{Axis, Constraint};
    ///
    /// let rows = Constraint::Unit { along: Axis::In };
    /// assert!(rows.check(2).is_ok());
    /// assert!(rows.check(1).is_err()); // a vector has no input axis
    /// ```
    pub fn check(self, rank: usize) -> Result<(), GeometryError> {
        let (along, radius) = match self {
            Self::Free => return Ok(()),
            Self::Unit { along } => (along, 1.0),
            Self::AtMost { along, radius } => (along, radius),
            Self::Frobenius { radius } => (Axis::Out, radius),
        };
        if along.dim(rank).is_none() {
            return Err(GeometryError::MissingAxis { along, rank });
        }
        if !(radius.is_finite() && radius > 0.0) {
            return Err(GeometryError::Radius { radius });
        }
        Ok(())
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("free"),
            Self::Unit { along } => write!(f, "|w| = 1 along {along}"),
            Self::AtMost { along, radius } => write!(f, "|w| <= {radius} along {along}"),
            Self::Frobenius { radius } => write!(f, "|W|_F = {radius}"),
        }
    }
}

/// A constraint that the weight it is meant for cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// The constraint runs along an axis that the weight doesn't have.
    #[error("a constraint along `{along}` needs that axis, and a weight of rank {rank} has none")]
    MissingAxis {
        /// The axis asked for.
        along: Axis,
        /// The number of dimensions of the weight.
        rank: usize,
    },
    /// The radius is zero, negative or not finite.
    #[error("the radius of a constraint must be positive and finite, not {radius}")]
    Radius {
        /// The radius given.
        radius: f64,
    },
}
