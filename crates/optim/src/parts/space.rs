//! Where a weight moves.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Magnitudes;
use super::direction::Scaled;
use crate::matrices::{norm, per};
use crate::state::{ParamState, StateTensor};

/// The set that a weight stays in by the way it moves.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Space {
    /// All of it: `w - rate * u`.
    #[default]
    Flat,
    /// The sphere of the Frobenius norm `R` that each matrix starts with (Hyperball):
    ///
    /// ```text
    /// W <- R N(W - rate R N(u)),   N(X) = X / |X|_F
    /// ```
    Sphere,
    /// A direction on that sphere between learned magnitudes of inputs and outputs.
    MagnitudeDirection(Magnitudes),
}

impl Space {
    pub(crate) fn kept(&self, shape: [usize; 3]) -> Vec<StateTensor> {
        match self {
            Self::Flat => Vec::new(),
            Self::Sphere => vec![radius_of(shape)],
            Self::MagnitudeDirection(_) => {
                let mut kept = Magnitudes::kept(shape);
                kept.push(radius_of(shape));
                kept
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Flat | Self::Sphere => Ok(()),
            Self::MagnitudeDirection(magnitudes) => magnitudes.check(),
        }
    }
}

fn radius_of([n, ..]: [usize; 3]) -> StateTensor {
    ("radius", [n, 1, 1])
}

/// The norm that a matrix keeps: the one it has at its first step.
fn radius(w: &Tensor<3>, state: &mut ParamState) -> Tensor<3> {
    let radius = state.take("radius").unwrap_or_else(|| norm(w.clone()));
    state.put("radius", radius.clone());
    radius
}

/// A step on the sphere, by a direction of length `rate` in units of the radius.
pub(crate) fn step_on_sphere(
    w: Tensor<3>,
    u: Scaled,
    rate: f64,
    state: &mut ParamState,
) -> Tensor<3> {
    let radius = radius(&w, state);
    // The direction's own size has no part in it.
    let length = norm(u.tensor.clone());
    let step = u.tensor.mul(per(radius.clone().mul_scalar(rate), length));
    onto(w.sub(step), radius)
}

/// A plain step, brought back to the sphere.
pub(crate) fn step_to_sphere(
    w: Tensor<3>,
    u: Scaled,
    rate: f64,
    state: &mut ParamState,
) -> Tensor<3> {
    let radius = radius(&w, state);
    onto(w.sub(u.tensor.mul_scalar(rate * u.scale)), radius)
}

fn onto(w: Tensor<3>, radius: Tensor<3>) -> Tensor<3> {
    let length = norm(w.clone());
    w.mul(per(radius, length))
}
