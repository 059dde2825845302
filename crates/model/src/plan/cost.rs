//! What a model costs: parameters and floating-point operations.

use super::{ParamRole, ParamSpec, Plan};
use crate::dims::{Dims, Site};
use serde::Serialize;

/// Counts that follow from a plan alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Parameters.
    pub params: usize,
    /// Parameters outside the embedding table and the output layer.
    pub non_embedding: usize,
    /// Parameters active per token: all but those of the experts that the token doesn't choose.
    pub active: usize,
    /// Floating-point operations of the matrix products of one forward pass, per token, at full context.
    pub forward_flops_per_token: f64,
    /// The same for forward and backward together.
    pub train_flops_per_token: f64,
}

/// The backward pass multiplies twice for every product of the forward pass: once for each operand's gradient.
const TRAIN_PER_FORWARD: f64 = 3.0;

impl Plan {
    /// How many parameters the model has and how many floating-point operations a token costs.
    ///
    /// A product of `[T, in]` and `[in, out]` counts `2 in out` operations a token; attention counts
    /// `2 * 2 * H * K` for each key that a query sees, `(T + 1) / 2` on average under the causal mask.
    pub fn cost(&self) -> Cost {
        let d = &self.dims;
        let specs = self.params();
        let total = |keep: fn(&ParamSpec) -> bool| -> usize {
            specs.iter().filter(|s| keep(s)).map(ParamSpec::len).sum()
        };
        let product_in = |site: Site, d: &Dims| {
            let [input, output] = site.shape(d);
            2.0 * (input * output) as f64
        };
        let product = |site: Site| product_in(site, d);
        let keys_seen = (d.context + 1) as f64 / 2.0;
        let attention = 4.0 * (d.heads * d.head) as f64 * keys_seen;
        // Each token goes through the experts that it chooses and the shared ones.
        let experts = &d.experts;
        let shared = d.of_shared_experts();
        let of = |site: Site| {
            if !site.in_mlp() || experts.is_dense() {
                return product(site);
            }
            let (chosen, always) = (experts.top_k as f64, experts.shared as f64);
            chosen * product(site) + always * product_in(site, &shared)
        };
        let idle: usize = specs
            .iter()
            .filter(|s| s.path.contains(".moe.experts."))
            .map(ParamSpec::len)
            .sum();
        let idle = idle - idle * experts.top_k.min(experts.count) / experts.count.max(1);
        let blocks: f64 = self
            .layers
            .iter()
            .map(|layer| {
                let sites = Site::BLOCK.into_iter().chain([Site::Router]);
                let products = sites.filter(|site| layer.site(*site).is_some());
                products.map(of).sum::<f64>() + attention
            })
            .sum();
        let forward = blocks + product(Site::Head);
        Cost {
            params: total(|_| true),
            active: total(|_| true) - idle,
            non_embedding: total(|s| !matches!(s.role, ParamRole::Embedding | ParamRole::Head)),
            forward_flops_per_token: forward,
            train_flops_per_token: TRAIN_PER_FORWARD * forward,
        }
    }
}
