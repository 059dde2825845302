//! Adam with one mean square per block.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Adam;
use super::direction::Scaled;
use crate::matrices::{IN, OUT};
use crate::state::ParamState;

/// Adam-mini's direction (Zhang et al., arXiv 2406.16793, algorithm 1): Adam's, with one mean
/// square for each block of entries in place of one for each entry:
///
/// ```text
/// v_block <- beta2 v_block + (1 - beta2) mean(g_block^2)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamMini {
    /// Decays and epsilon.
    pub adam: Adam,
    /// What shares a mean square.
    pub blocks: Blocks,
}

/// The blocks of a parameter that share one mean square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    /// Each tensor (each expert of several): vectors.
    #[default]
    Tensor,
    /// What makes one output: linear maps.
    Output,
    /// What one input leads to: the vectors of an embedding table.
    Input,
    /// What makes one of so many equal groups of outputs: the heads of q and k.
    Heads(usize),
}

impl Blocks {
    /// The shape of the mean squares. Those of heads are repeated for each of their outputs.
    pub(super) fn shape(self, [n, input, output]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Tensor => [n, 1, 1],
            Self::Output | Self::Heads(_) => [n, 1, output],
            Self::Input => [n, input, 1],
        }
    }

    /// The mean over each block, in a shape that spreads over the parameter's.
    fn mean(self, x: Tensor<3>) -> Tensor<3> {
        let [n, _, output] = x.dims();
        match self {
            Self::Tensor => x.mean_dim(OUT).mean_dim(IN),
            Self::Output => x.mean_dim(IN),
            Self::Input => x.mean_dim(OUT),
            Self::Heads(heads) => x
                .mean_dim(IN)
                .reshape([n, heads, output / heads])
                .mean_dim(OUT)
                .repeat_dim(OUT, output / heads)
                .reshape([n, 1, output]),
        }
    }
}

impl AdamMini {
    pub(super) fn check(&self, [_, _, output]: [usize; 3]) -> Result<(), String> {
        match self.blocks {
            Blocks::Heads(heads) if heads == 0 || !output.is_multiple_of(heads) => {
                Err(format!("{output} outputs are not {heads} equal heads"))
            }
            _ => self.adam.check(),
        }
    }

    pub(super) fn step(&self, grad: Tensor<3>, grad_scale: f64, state: &mut ParamState) -> Scaled {
        let squared = self.blocks.mean(grad.clone().square());
        self.adam
            .with_squares(grad, squared, grad_scale, state, ["m", "v"])
    }
}
