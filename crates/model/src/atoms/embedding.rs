//! Tokens to vectors.

use crate::dims::{Dims, Site};
use crate::init::Initializer;
use crate::plan::WeightPlan;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use evenburn_kernels::embedding;

/// The embedding table, `[V, D]`.
#[derive(Module, Debug)]
pub struct Embedding {
    /// One row per token.
    pub weight: Param<Tensor<2>>,
}

impl Embedding {
    /// A table of `d.vocab` rows, drawn as the plan says.
    pub fn new(plan: &WeightPlan, d: &Dims, init: Initializer, device: &Device) -> Self {
        Self {
            weight: init.matrix("embed.weight", plan.init, Site::Embedding.shape(d), device),
        }
    }

    /// `[B, T] -> [B, T, D]`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        embedding(self.weight.val(), tokens)
    }
}
