//! `GatedNorm` (2601.22966): a gate of low rank behind RMSNorm.

use super::{Around, Effect, NormFunction};
use crate::dims::LARGEST;
use crate::named::Recorded;
use crate::plan::{ArrayPlan, Init};
use burn::tensor::Tensor;
use burn::tensor::activation::{sigmoid, silu};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Deviation of both matrices at the start: that of the other matrices in Llama.
const STD: f64 = 0.02;

/// `y * sigmoid(silu(y Wd) Wu)` of `y = gain * x / sqrt(mean(x^2) + eps)`, with two learned matrices: `down`,
/// `Wd [D, rank]`, and `up`, `Wu [rank, D]` (section 3.3).
///
/// Both are matrices to every optimizer, and decay. The paper doesn't print how they start. Here both are normal with a
/// deviation of 0.02, so that every gate starts near 1/2: a zero in either would be kept by the optimizers that hold the norm
/// of a matrix, and leaves the other one without a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatedNorm {
    /// Width between the two matrices of the gate.
    #[schemars(range(min = 1))]
    pub rank: usize,
}

impl Default for GatedNorm {
    fn default() -> Self {
        Self { rank: 16 }
    }
}

impl Recorded for GatedNorm {
    const NAME: &'static str = "gated_norm";
    const ABOUT: &'static str =
        "GatedNorm: RMSNorm, then a gate of each channel, of low rank (2601.22966).";
}

impl NormFunction for GatedNorm {
    fn describe(&self) -> String {
        format!("RMS, gated by rank {}", self.rank)
    }

    fn arrays(&self, width: usize, _: bool) -> Vec<ArrayPlan> {
        let start = Init::Normal { std: STD };
        vec![
            ArrayPlan::matrix("down", [width, self.rank], start),
            ArrayPlan::matrix("up", [self.rank, width], start),
        ]
    }

    fn forward(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<2> {
        let size = x.clone().square().mean_dim(1).add_scalar(around.eps).sqrt();
        let y = around.gained(x / size);
        let narrow = silu(y.clone().matmul(around.arrays.matrix("down")));
        y * sigmoid(narrow.matmul(around.arrays.matrix("up")))
    }

    fn effect(&self) -> Effect {
        Effect::Invariant
    }

    fn gain_is_last(&self) -> bool {
        false
    }

    fn check(&self, _: usize, _: f64) -> Result<(), String> {
        match self.rank {
            0 => Err("a gate of rank 0, which gates nothing".to_owned()),
            rank if rank > LARGEST => Err(format!("a gate of rank {rank}, which no memory holds")),
            _ => Ok(()),
        }
    }
}
