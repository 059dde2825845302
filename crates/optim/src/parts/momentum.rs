//! Momentum.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check_decay;
use super::direction::Scaled;
use crate::state::ParamState;

/// A running mean or sum of gradients, what Muon and Scion orthogonalize.
///
/// ```text
/// mean: m <- beta m + (1 - beta) g        sum: m <- beta m + g
/// direction = m, or with Nesterov's step ahead beta m + (1 - beta) g, or beta m + g
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Momentum {
    /// Decay of the past.
    pub beta: f64,
    /// Mean or sum.
    pub accumulation: Accumulation,
    /// Whether the gradient is mixed in once more.
    pub lookahead: Lookahead,
}

/// How gradients are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accumulation {
    /// `beta m + (1 - beta) g`: Keller Jordan's `muon.py`, `torch.optim.Muon`, Scion.
    #[default]
    Mean,
    /// `beta m + g`: Moonlight's code.
    Sum,
}

/// What the direction is beside the momentum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lookahead {
    /// The momentum after the next step with the same gradient.
    #[default]
    Nesterov,
    /// The momentum.
    None,
}

impl Default for Momentum {
    /// Keller Jordan's.
    fn default() -> Self {
        Self {
            beta: 0.95,
            accumulation: Accumulation::Mean,
            lookahead: Lookahead::Nesterov,
        }
    }
}

impl Momentum {
    pub(super) fn check(&self) -> Result<(), String> {
        check_decay("the momentum", self.beta)
    }

    pub(super) fn step(&self, grad: Tensor<3>, grad_scale: f64, state: &mut ParamState) -> Scaled {
        let share = match self.accumulation {
            Accumulation::Mean => 1.0 - self.beta,
            Accumulation::Sum => 1.0,
        };
        let fresh = grad.mul_scalar(share * grad_scale);
        let m = match state.take("m") {
            Some(m) => m.mul_scalar(self.beta).add(fresh.clone()),
            None => fresh.clone(),
        };
        let tensor = match self.lookahead {
            Lookahead::Nesterov => fresh.add(m.clone().mul_scalar(self.beta)),
            Lookahead::None => m.clone(),
        };
        state.put("m", m);
        Scaled { tensor, scale: 1.0 }
    }
}
