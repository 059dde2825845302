//! The output layer: vectors to logits, and the loss on them.
//!
//! `N` positions, `D` model, `V` vocabulary.

use super::{Embedding, Gain};
use crate::dims::{Dims, Site};
use crate::init::Initializer;
use crate::plan::Plan;
use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Int, Tensor};
use evenburn_kernels::{Precision, linear, linear_cross_entropy, linear_log_likelihood};

/// The output layer, `[D, V]` or the transposed embedding table, with an optional learned scale of each logit.
///
/// It needs the [`Plan`] of a model. Its parameters are `weight`, where it has one of its own, and `after.value`; in a decoder
/// they are `head.weight` and `head.after.value`.
#[derive(Module, Debug)]
pub struct Head {
    /// Its own matrix; none when it is the embedding's.
    pub weight: Option<Param<Tensor<2>>>,
    /// Scale of the logits, `[V]`.
    pub after: Option<Gain>,
    #[module(skip)]
    precision: Precision,
}

impl Head {
    /// The output layer that a plan decides.
    pub fn new(plan: &Plan, d: &Dims, init: Initializer, device: &Device) -> Self {
        Self {
            weight: plan
                .head
                .as_ref()
                .map(|w| init.matrix("head.weight", w.init, Site::Head.shape(d), device)),
            after: plan
                .ends
                .head
                .logit_gain
                .as_ref()
                .map(|g| Gain::new(g, d.vocab, device)),
            precision: Precision::F32,
        }
    }

    /// The same layer whose product rounds its factors to a precision; single precision until then.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The matrix that makes the logits, `[D, V]`, with their scales in it.
    fn matrix(&self, embedding: &Embedding) -> Tensor<2> {
        let weight = match &self.weight {
            Some(weight) => weight.val(),
            None => embedding.weight.val().transpose(),
        };
        match &self.after {
            Some(after) => weight * after.used().unsqueeze::<2>(),
            None => weight,
        }
    }

    /// Logits: `after * (hidden W)`.
    ///
    /// # Shapes
    /// - `hidden`: `[N, D]`
    /// - output: `[N, V]`
    pub fn forward(&self, hidden: Tensor<2>, embedding: &Embedding) -> Tensor<2> {
        linear(hidden, self.matrix(embedding), 1.0, self.precision)
    }

    /// Cross-entropy in nats, summed over the targets that are not negative. No logits are kept.
    ///
    /// # Shapes
    /// - `hidden`: `[N, D]`
    /// - `targets`: `[N]`
    /// - output: `[1]`
    pub fn loss_sum(
        &self,
        hidden: Tensor<2>,
        targets: Tensor<1, Int>,
        embedding: &Embedding,
    ) -> Tensor<1> {
        linear_cross_entropy(hidden, self.matrix(embedding), targets, self.precision)
    }

    /// The log-likelihood of each target in nats, and whether it is the most likely token, of equal ones the first. No logits are
    /// kept.
    ///
    /// # Shapes
    /// - `hidden`: `[N, D]`
    /// - `targets`: `[N]`
    /// - output: `[N]` each
    pub fn target_scores(
        &self,
        hidden: Tensor<2>,
        targets: Tensor<1, Int>,
        embedding: &Embedding,
    ) -> (Tensor<1>, Tensor<1, Bool>) {
        linear_log_likelihood(hidden, self.matrix(embedding), targets, self.precision)
    }
}
