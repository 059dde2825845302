//! Tokens to vectors.

use super::projection::scaled;
use super::{Gain, Norm};
use crate::dims::Site;
use crate::init::Initializer;
use crate::plan::Plan;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use evenburn_kernels::embedding;

/// The embedding table, `[V, D]`, and what stands behind it.
#[derive(Module, Debug)]
pub struct Embedding {
    /// One row per token.
    pub weight: Param<Tensor<2>>,
    /// Learned scale of the result.
    pub gain: Option<Gain>,
    /// Normalization of the result.
    pub norm: Option<Norm>,
    factor: f64,
}

impl Embedding {
    /// A table of `plan.dims.vocab` rows, drawn as the plan says.
    pub fn new(plan: &Plan, init: Initializer, device: &Device) -> Self {
        let d = &plan.dims;
        let shape = Site::Embedding.shape(d);
        Self {
            weight: init.matrix("embed.weight", plan.embedding.init, shape, device),
            gain: plan
                .ends
                .embed_gain
                .as_ref()
                .map(|gain| Gain::new(gain, d.model, device)),
            norm: plan
                .ends
                .embed_norm
                .as_ref()
                .map(|norm| Norm::new(norm, d.model, d.head, device)),
            factor: plan.ends.embed_factor,
        }
    }

    /// `[B, T] -> [B, T, D]`: `norm( gain * factor * table[token] )`.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let x = scaled(embedding(self.weight.val(), tokens), self.factor);
        let x = match &self.gain {
            Some(gain) => gain.forward(x),
            None => x,
        };
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}
