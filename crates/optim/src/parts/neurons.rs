//! Equal steps for every output.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{check_decay, check_eps};
use crate::matrices::{IN, norm, per};
use crate::state::{ParamState, StateTensor};

/// `NorMuon`'s second moment of each output (Li et al., arXiv 2510.05491, algorithm 1), after the
/// orthogonalization:
///
/// ```text
/// n <- beta2 n + (1 - beta2) mean over inputs of u^2
/// u' = u / (sqrt(n) + eps),  scaled back to |u|_F
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NeuronNorm {
    /// Decay of the mean square.
    pub beta2: f64,
    /// Added to its root.
    pub eps: f64,
}

impl Default for NeuronNorm {
    /// The official code's.
    fn default() -> Self {
        Self {
            beta2: 0.95,
            eps: 1e-10,
        }
    }
}

impl NeuronNorm {
    pub(crate) fn kept([n, _, output]: [usize; 3]) -> StateTensor {
        ("n", [n, 1, output])
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        check_decay("the decay of the outputs' mean square", self.beta2)?;
        check_eps(self.eps)
    }

    pub(crate) fn step(&self, u: Tensor<3>, state: &mut ParamState) -> Tensor<3> {
        let fresh = u.clone().square().mean_dim(IN).mul_scalar(1.0 - self.beta2);
        let n = match state.take("n") {
            Some(n) => n.mul_scalar(self.beta2).add(fresh),
            None => fresh,
        };
        state.put("n", n.clone());
        let before = norm(u.clone());
        let even = u.div(n.sqrt().add_scalar(self.eps));
        let after = norm(even.clone());
        even.mul(per(before, after))
    }
}
