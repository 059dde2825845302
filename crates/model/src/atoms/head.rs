//! Vectors to logits, and the loss on them.

use super::{Embedding, Gain};
use crate::dims::{Dims, Site};
use crate::init::Initializer;
use crate::plan::Plan;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

/// The output layer, `[D, V]` or the transposed embedding table, with an optional learned scale of each logit.
#[derive(Module, Debug)]
pub struct Head {
    /// Its own matrix; none when it is the embedding's.
    pub weight: Option<Param<Tensor<2>>>,
    /// Scale of the logits, `[V]`.
    pub after: Option<Gain>,
}

impl Head {
    pub(crate) fn new(plan: &Plan, d: &Dims, init: &Initializer, device: &Device) -> Self {
        Self {
            weight: plan
                .head
                .as_ref()
                .map(|w| init.matrix("head.weight", w.init, Site::Head.shape(d), device)),
            after: plan
                .ends
                .logit_gain
                .as_ref()
                .map(|g| Gain::new(g, d.vocab, device)),
        }
    }

    /// `[N, D] -> [N, V]`.
    pub fn forward(&self, hidden: Tensor<2>, embedding: &Embedding) -> Tensor<2> {
        let weight = match &self.weight {
            Some(weight) => weight.val(),
            None => embedding.weight.val().transpose(),
        };
        let weight = match &self.after {
            Some(after) => weight * after.used().unsqueeze::<2>(),
            None => weight,
        };
        hidden.matmul(weight)
    }
}

/// Summed cross-entropy in nats of `logits [N, V]` against `targets [N]`; a negative target is left out.
///
/// `loss = sum_n ( log(sum_v exp(z_nv)) - z_n,target )`, with the largest logit taken out before the exponential.
pub(crate) fn cross_entropy_sum(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let counted = targets.clone().greater_equal_elem(0);
    let index: Tensor<2, Int> = targets.clamp_min(0).unsqueeze_dim(1);
    // The maximum only keeps the exponential finite: its gradient cancels.
    let largest = logits.clone().detach().max_dim(1);
    let shifted = logits - largest;
    let target = shifted.clone().gather(1, index);
    let loss: Tensor<2> = shifted.exp().sum_dim(1).log() - target;
    let loss: Tensor<1> = loss.squeeze_dim(1);
    loss.mask_fill(counted.bool_not(), 0.0).sum()
}
