//! Adam's direction.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::direction::Scaled;
use super::{check_decay, check_eps};
use crate::state::ParamState;

/// Adam's direction (Kingma and Ba, arXiv 1412.6980, algorithm 1), as `torch.optim.Adam`:
///
/// ```text
/// m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
/// direction = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps),   t = 1, 2, ...
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the squared gradients' mean.
    pub eps: f64,
}

impl Default for Adam {
    /// (0.9, 0.95) is what nGPT, anGPT and SimpleGPT train with; 1e-8 is `torch.optim.Adam`'s.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
        }
    }
}

impl Adam {
    pub(super) fn check(&self) -> Result<(), String> {
        check_decay("beta1", self.beta1)?;
        check_decay("beta2", self.beta2)?;
        check_eps(self.eps)
    }

    /// Hyperparameters and bias corrections stay `f64` until Burn applies them in the tensor's
    /// dtype: its scalars carry `f64`, and the Flex backend rounds them only for narrower tensors.
    pub(super) fn step(
        &self,
        grad: Tensor<3>,
        grad_scale: f64,
        state: &mut ParamState,
        [mean, square]: [&'static str; 2],
    ) -> Scaled {
        // In this order every tensor but two is updated in place: the square, and below the root.
        let squared = grad.clone().square();
        self.with_squares(grad, squared, grad_scale, state, [mean, square])
    }

    /// The same with squares that are given, for each entry or for each block of entries.
    pub(super) fn with_squares(
        &self,
        grad: Tensor<3>,
        squared: Tensor<3>,
        grad_scale: f64,
        state: &mut ParamState,
        [mean, square]: [&'static str; 2],
    ) -> Scaled {
        let squared = squared.mul_scalar((1.0 - self.beta2) * grad_scale * grad_scale);
        let scaled = grad.mul_scalar((1.0 - self.beta1) * grad_scale);
        let m = match state.take(mean) {
            Some(m) => m.mul_scalar(self.beta1).add(scaled),
            None => scaled,
        };
        let v = match state.take(square) {
            Some(v) => v.mul_scalar(self.beta2).add(squared),
            None => squared,
        };
        let correction1 = 1.0 - power(self.beta1, state.t);
        let correction2 = (1.0 - power(self.beta2, state.t)).sqrt();
        // sqrt(v)/c2 + eps = (sqrt(v) + eps c2) / c2: the division becomes part of the scale.
        let root = v.clone().sqrt().add_scalar(self.eps * correction2);
        let tensor = m.clone().div(root);
        state.put(mean, m);
        state.put(square, v);
        Scaled {
            tensor,
            scale: correction2 / correction1,
        }
    }
}

fn power(beta: f64, t: u64) -> f64 {
    // Beyond i32::MAX steps any power of a number below one has long been zero.
    beta.powi(i32::try_from(t).unwrap_or(i32::MAX))
}
