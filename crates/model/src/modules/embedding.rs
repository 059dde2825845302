//! The embedding: tokens to vectors.
//!
//! `B` batch, `T` time, `D` model, `V` vocabulary.

use super::projection::scaled;
use super::{Gain, Norm};
use crate::dims::Site;
use crate::init::Initializer;
use crate::plan::Plan;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use evenburn_kernels::embedding;

/// The embedding table, `[V, D]`, that of positions, `[T, D]`, and what stands behind them.
///
/// It needs the [`Plan`] of a model. Its parameters are `weight`, `positions`, `gain.value` and those of `norm`; in a decoder
/// they are `embed.weight` and so on.
#[derive(Module, Debug)]
pub struct Embedding {
    /// One row per token.
    pub weight: Param<Tensor<2>>,
    /// One row per position, added to the token's; absent where positions are not learned.
    pub positions: Option<Param<Tensor<2>>>,
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
            positions: plan.positions.as_ref().map(|p| {
                let shape = Site::Positions.shape(d);
                init.matrix("embed.positions", p.init, shape, device)
            }),
            gain: plan
                .ends
                .embedding
                .gain
                .as_ref()
                .map(|gain| Gain::new(gain, d.model, device)),
            norm: plan
                .ends
                .embedding
                .norm
                .as_ref()
                .map(|norm| Norm::new(norm, [d.model, d.head], "embed.norm", init, device)),
            factor: plan.ends.embedding.factor,
        }
    }

    /// `norm( gain * factor * (table[token] + positions[place]) )`.
    ///
    /// # Shapes
    /// - `tokens`: `[B, T]`
    /// - `places`: `[B, T]`, the tokens' positions; without them they count from `start`
    /// - output: `[B, T, D]`
    pub fn forward(
        &self,
        tokens: Tensor<2, Int>,
        start: usize,
        places: Option<Tensor<2, Int>>,
    ) -> Tensor<3> {
        let [_, t] = tokens.dims();
        let x = embedding(self.weight.val(), tokens);
        let x = match (&self.positions, places) {
            (Some(table), Some(places)) => x + embedding(table.val(), places),
            (Some(table), None) => x + table.val().narrow(0, start, t).unsqueeze::<3>(),
            (None, _) => x,
        };
        let x = scaled(x, self.factor);
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
