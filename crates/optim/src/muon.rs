//! Muon's momentum and its scale by role.

use burn::tensor::Tensor;
use evenburn_geometry::Axis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::newton_schulz::{NormFloor, orthogonalize};
use crate::update::Direction;

/// Muon: momentum whose matrix is orthogonalized before it is applied.
///
/// ```text
/// m <- m + (1 - momentum) (g - m)
/// u = g + momentum (m - g)   (Nesterov; u = m without)
/// direction = adjust * NewtonSchulz(u)
/// ```
///
/// Sources: Keller Jordan's `muon.py` (github.com/KellerJordan/Muon), whose constants are the
/// defaults, and `torch.optim.Muon`. Weights have rank 2, or rank 3 with an axis of experts in
/// front, each of which is a matrix of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Muon {
    /// Decay of the mean of gradients.
    pub momentum: f64,
    /// Whether the gradient is mixed into the momentum once more (Nesterov).
    pub nesterov: bool,
    /// Newton–Schulz iterations.
    pub ns_steps: usize,
    /// Keeps the norm before the iterations away from zero.
    pub eps: f64,
    /// How `eps` does that.
    pub floor: NormFloor,
    /// The factor on the orthogonalized matrix, by its shape.
    pub adjust: Adjust,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            ns_steps: 5,
            eps: 1e-7,
            floor: NormFloor::Clamp,
            adjust: Adjust::Original,
        }
    }
}

/// The factor that makes one rate fit matrices of every shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Adjust {
    /// `sqrt(max(1, out / in))`, Keller Jordan's `muon.py`.
    #[default]
    Original,
    /// `0.2 sqrt(max(out, in))`: updates with the root mean square of `AdamW`'s (Moonlight,
    /// arXiv 2502.16982, section 2.2), so that its rate and decay can be used.
    MatchRmsAdamw,
}

impl Adjust {
    /// The factor for a matrix from `input` to `output` features.
    ///
    /// The papers' `[out, in]` matrices have `rows / columns = out / in`; here matrices are
    /// `[in, out]`, so the arguments are named, not ordered by dimension.
    ///
    /// ```
    /// use evenburn_optim::Adjust;
    ///
    /// let (dim, hidden) = (256, 1024);
    /// assert_eq!(Adjust::Original.factor(dim, hidden), 2.0); // up-projection
    /// assert_eq!(Adjust::Original.factor(hidden, dim), 1.0); // down-projection
    /// ```
    pub fn factor(self, input: usize, output: usize) -> f64 {
        let (input, output) = (input as f64, output as f64);
        match self {
            Self::Original => (output / input).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * input.max(output).sqrt(),
        }
    }
}

impl Muon {
    /// One step of the momentum with `grad * grad_scale`: what is to be orthogonalized, and the
    /// new momentum.
    pub(crate) fn velocity<const D: usize>(
        &self,
        grad: Tensor<D>,
        grad_scale: f64,
        m: Option<Tensor<D>>,
    ) -> (Tensor<D>, Tensor<D>) {
        let fresh = grad.clone().mul_scalar((1.0 - self.momentum) * grad_scale);
        let m = match m {
            Some(m) => m.mul_scalar(self.momentum).add(fresh),
            None => fresh,
        };
        let u = if self.nesterov {
            grad.mul_scalar((1.0 - self.momentum) * grad_scale)
                .add(m.clone().mul_scalar(self.momentum))
        } else {
            m.clone()
        };
        (u, m)
    }

    /// The direction of a batch of matrices `[N, In, Out]`.
    pub(crate) fn direction(&self, u: Tensor<3>) -> Direction<3> {
        let [_, input, output] = u.dims();
        Direction {
            tensor: orthogonalize(u, self.ns_steps, self.eps, self.floor),
            scale: self.adjust.factor(input, output),
        }
    }
}

/// The shape `[N, In, Out]` of a weight as a batch of matrices, `None` if it isn't one.
pub(crate) fn as_matrices(shape: &[usize]) -> Option<[usize; 3]> {
    if !matches!(shape.len(), 2 | 3) {
        return None;
    }
    let input = shape[Axis::In.dim(shape.len())?];
    let output = shape[Axis::Out.dim(shape.len())?];
    let experts = if shape.len() == 3 { shape[0] } else { 1 };
    Some([experts, input, output])
}
