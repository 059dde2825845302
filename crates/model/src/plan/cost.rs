//! What a model costs: parameters, floating-point operations, memory.

use super::{ParamSpec, Plan, Role};
use crate::dims::Site;
use serde::Serialize;

/// Counts that follow from a plan alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Trainable numbers.
    pub params: usize,
    /// Trainable numbers outside the embedding table and the output layer.
    pub non_embedding: usize,
    /// Floating-point operations of the matrix products of one forward pass, per token, at full context.
    pub forward_flops_per_token: f64,
    /// The same for forward and backward together.
    pub train_flops_per_token: f64,
}

/// The backward pass multiplies twice for every product of the forward pass: once for each operand's gradient.
const TRAIN_PER_FORWARD: f64 = 3.0;

impl Plan {
    /// Parameters and operations.
    ///
    /// A product of `[T, in]` and `[in, out]` counts `2 in out` operations a token; attention counts
    /// `2 * 2 * H * K` for each key that a query sees, `(T + 1) / 2` on average under the causal mask.
    pub fn cost(&self) -> Cost {
        let d = &self.dims;
        let specs = self.params();
        let total = |keep: fn(&ParamSpec) -> bool| -> usize {
            specs.iter().filter(|s| keep(s)).map(ParamSpec::len).sum()
        };
        let product = |site: Site| {
            let [input, output] = site.shape(d);
            2.0 * (input * output) as f64
        };
        let keys_seen = (d.context + 1) as f64 / 2.0;
        let attention = 4.0 * (d.heads * d.head) as f64 * keys_seen;
        let blocks: f64 = self
            .layers
            .iter()
            .map(|layer| {
                let sites = Site::BLOCK.into_iter();
                let products = sites.filter(|site| layer.site(*site).is_some());
                products.map(product).sum::<f64>() + attention
            })
            .sum();
        let forward = blocks + product(Site::Head);
        Cost {
            params: total(|_| true),
            non_embedding: total(|s| !matches!(s.role, Role::Embedding | Role::Head)),
            forward_flops_per_token: forward,
            train_flops_per_token: TRAIN_PER_FORWARD * forward,
        }
    }
}
