//! The part of a gradient that a constraint leaves any use of.

use burn::tensor::Tensor;
use evenburn_geometry::{Axis, Constraint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Space;
use crate::matrices::{IN, OUT, per, sum};

/// Which part of the gradient a recipe sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GradientSpace {
    /// All of it.
    #[default]
    Ambient,
    /// Without what points along the weight, where the constraint takes that away again:
    /// `g - w (g . w) / |w|^2` on spheres; in a ball only for slices on its boundary whose
    /// gradient would push them out.
    Tangent,
}

/// How far inside a ball its boundary begins, as a fraction of the radius: what rounding in `f32`
/// leaves of a projection.
const BOUNDARY: f64 = 1e-6;

impl GradientSpace {
    /// The part of `grad` that is used.
    pub(crate) fn of(
        self,
        grad: Tensor<3>,
        w: impl FnOnce() -> Tensor<3>,
        constraint: Constraint,
        space: &Space,
    ) -> Tensor<3> {
        if self == Self::Ambient {
            return grad;
        }
        let along: fn(Tensor<3>) -> Tensor<3> = match (constraint, space) {
            (Constraint::Frobenius { .. }, _) | (Constraint::Free, Space::Sphere) => sum,
            (Constraint::Unit { along } | Constraint::AtMost { along, .. }, _) => match along {
                Axis::In => |x| x.sum_dim(IN),
                Axis::Out => |x| x.sum_dim(OUT),
            },
            (Constraint::Free, _) => return grad,
        };
        let w = w();
        let square = along(w.clone().square());
        let inner = along(w.clone().mul(grad.clone()));
        let inner = match constraint {
            Constraint::AtMost { radius, .. } => {
                let edge = radius * (1.0 - BOUNDARY);
                let inside = square.clone().lower_elem(edge * edge);
                // A step goes against the gradient: inward where it points along the weight.
                let inward = inner.clone().greater_elem(0.0);
                inner.mask_fill(inside.bool_or(inward), 0.0)
            }
            _ => inner,
        };
        grad.sub(w.mul(per(inner, square)))
    }
}
