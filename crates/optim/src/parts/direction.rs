//! From gradients to a direction, entry by entry.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Adam, AdamMini, Lion, Momentum};
use crate::state::{ParamState, StateTensor};

/// The direction of a step, from the gradient and the means that are kept of earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Direction {
    /// Adam's: the mean gradient over the root of the mean square, entry by entry.
    Adam(Adam),
    /// Adam's with one mean square for each block of entries.
    AdamMini(AdamMini),
    /// Lion's mixture of gradient and mean, before the sign.
    Lion(Lion),
    /// The mean or the sum of the gradients.
    Momentum(Momentum),
}

/// `scale * tensor`: a factor that needs no pass of its own.
#[derive(Debug, Clone)]
pub(crate) struct Scaled {
    pub(crate) tensor: Tensor<3>,
    pub(crate) scale: f64,
}

impl Direction {
    /// What is kept between steps for a parameter of this shape.
    pub(crate) fn kept(&self, shape: [usize; 3]) -> Vec<StateTensor> {
        match self {
            Self::Adam(_) => vec![("m", shape), ("v", shape)],
            Self::AdamMini(mini) => vec![("m", shape), ("v", mini.blocks.shape(shape))],
            Self::Lion(_) | Self::Momentum(_) => vec![("m", shape)],
        }
    }

    /// One step with `grad * grad_scale`. The state's count has this step in it.
    pub(crate) fn step(&self, grad: Tensor<3>, grad_scale: f64, state: &mut ParamState) -> Scaled {
        match self {
            Self::Adam(adam) => adam.step(grad, grad_scale, state, ["m", "v"]),
            Self::AdamMini(mini) => mini.step(grad, grad_scale, state),
            Self::Lion(lion) => lion.step(grad, grad_scale, state),
            Self::Momentum(momentum) => momentum.step(grad, grad_scale, state),
        }
    }

    pub(crate) fn check(&self, shape: [usize; 3]) -> Result<(), String> {
        match self {
            Self::Adam(adam) => adam.check(),
            Self::AdamMini(mini) => mini.check(shape),
            Self::Lion(lion) => lion.check(),
            Self::Momentum(momentum) => momentum.check(),
        }
    }
}
