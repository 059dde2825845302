//! Adam's direction.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::update::Direction;

/// Adam's direction (Kingma and Ba, arXiv 1412.6980, algorithm 1), as `torch.optim.Adam`:
///
/// ```text
/// m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
/// direction = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps),   t = 1, 2, ...
/// ```
///
/// The formula has no weight decay; [`Recipe::AdamW`](crate::Recipe::AdamW) decays the weight
/// itself beside it.
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

/// Adam's state of one parameter.
#[derive(Debug, Clone)]
pub(crate) struct Moments<const D: usize> {
    pub(crate) m: Tensor<D>,
    pub(crate) v: Tensor<D>,
    /// Steps taken.
    pub(crate) t: u64,
}

impl Adam {
    /// One step of the moments with `grad * grad_scale`, and the direction they give.
    ///
    /// Hyperparameters and bias corrections stay `f64` until Burn applies them in the tensor's
    /// dtype: its scalars carry `f64`, and the Flex backend rounds them only for narrower tensors.
    pub(crate) fn direction<const D: usize>(
        &self,
        grad: Tensor<D>,
        grad_scale: f64,
        state: Option<Moments<D>>,
    ) -> (Direction<D>, Moments<D>) {
        // In this order every tensor but two is updated in place: the square, and below the root.
        let squared = grad
            .clone()
            .square()
            .mul_scalar((1.0 - self.beta2) * grad_scale * grad_scale);
        let scaled = grad.mul_scalar((1.0 - self.beta1) * grad_scale);
        let (m, v, t) = match state {
            Some(Moments { m, v, t }) => (
                m.mul_scalar(self.beta1).add(scaled),
                v.mul_scalar(self.beta2).add(squared),
                t.saturating_add(1),
            ),
            None => (scaled, squared, 1),
        };

        let correction1 = 1.0 - power(self.beta1, t);
        let correction2 = (1.0 - power(self.beta2, t)).sqrt();
        // sqrt(v)/c2 + eps = (sqrt(v) + eps c2) / c2: the division becomes part of the scale.
        let root = v.clone().sqrt().add_scalar(self.eps * correction2);
        let direction = Direction {
            tensor: m.clone().div(root),
            scale: correction2 / correction1,
        };
        (direction, Moments { m, v, t })
    }
}

fn power(beta: f64, t: u64) -> f64 {
    // Beyond i32::MAX steps any power of a number below one has long been zero.
    beta.powi(i32::try_from(t).unwrap_or(i32::MAX))
}
