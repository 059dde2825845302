//! Lion's direction.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_decay;
use super::direction::Scaled;
use crate::state::ParamState;

/// What Lion takes the sign of (Chen et al., arXiv 2302.06675, program 1):
///
/// ```text
/// direction = beta1 m + (1 - beta1) g,    m <- beta2 m + (1 - beta2) g
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lion {
    /// Share of the mean in the direction.
    pub beta1: f64,
    /// Decay of the mean of gradients.
    pub beta2: f64,
}

impl Default for Lion {
    /// The paper's.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.99,
        }
    }
}

impl Lion {
    pub(super) fn check(&self) -> Result<(), String> {
        check_decay("beta1", self.beta1)?;
        check_decay("beta2", self.beta2)
    }

    pub(super) fn step(&self, grad: Tensor<3>, grad_scale: f64, state: &mut ParamState) -> Scaled {
        let share = |beta: f64| (1.0 - beta) * grad_scale;
        let (first, second) = (
            grad.clone().mul_scalar(share(self.beta1)),
            grad.mul_scalar(share(self.beta2)),
        );
        let (tensor, m) = match state.take("m") {
            Some(m) => (
                m.clone().mul_scalar(self.beta1).add(first),
                m.mul_scalar(self.beta2).add(second),
            ),
            None => (first, second),
        };
        state.put("m", m);
        Scaled { tensor, scale: 1.0 }
    }
}
