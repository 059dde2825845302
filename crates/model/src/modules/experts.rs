//! A mixture of experts: each token goes through the few feed-forward networks that a router chooses.
//!
//! `N` tokens, `D` model, `E` experts, `k` chosen. No token is dropped: tokens are grouped by expert, one network call
//! for each.

use super::projection::scaled;
use super::{Mlp, Projection};
use crate::dims::{Dims, Site};
use crate::experts::{Balance, ExpertsConfig, Gates, Kept};
use crate::init::Initializer;
use crate::plan::{Combine, LayerPlan, SitePlan};
use burn::module::{Module, Param};
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};
use evenburn_kernels::Precision;

/// Gates whose square root is not told from 0 in single precision.
const LEAST_GATE: f64 = 1e-30;

/// A mixture of experts: those that a router chooses from for each token, and those that every token has.
///
/// ```text
/// y = scale sum_chosen g_i FFN_i(x) + sum_shared FFN_s(x),   g = softmax or sigmoid of W_r x
/// ```
///
/// [`Combine`] has the other ways to join them.
///
/// It needs the [`LayerPlan`] of a block and the sizes of a model. Its parameters are `router.weight`, `correction`, and those
/// of its networks, as `experts.0.gate.weight` and `shared.0.up.weight`.
#[derive(Module, Debug)]
pub struct Experts {
    /// Logits of the experts, `[D, E]`.
    pub router: Projection,
    /// Added to the gates for the choice alone, `[E]`; moved by [`Experts::rebalanced`], not by gradients.
    pub correction: Option<Param<Tensor<1>>>,
    /// Experts that tokens choose from.
    pub experts: Vec<Mlp>,
    /// Experts that every token has.
    pub shared: Vec<Mlp>,
    #[module(skip)]
    config: ExpertsConfig,
    #[module(skip)]
    combine: Combine,
}

/// What a router did in one block, for the balancing loss and for metrics.
#[derive(Debug, Clone)]
pub struct Routing {
    /// How many experts of each kind a token has on average, `[E]`; sums to `k`.
    pub load: Vec<f64>,
    /// Mean probability of each expert, `[E]`, with its gradient.
    pub probability: Tensor<1>,
    /// Mean squared logsumexp of the logits, `[1]`, with its gradient.
    pub z: Tensor<1>,
}

/// The choice of every token, on the host.
struct Choice {
    /// Expert of each (token, slot), `[N k]`.
    experts: Vec<usize>,
    count: usize,
    top_k: usize,
}

impl Choice {
    /// The `k` largest of each row of `scores [N, E]`; ties go to the smaller index.
    fn new(scores: &[f64], count: usize, top_k: usize) -> Self {
        let experts = scores
            .chunks(count)
            .flat_map(|row| {
                let mut order: Vec<usize> = (0..count).collect();
                order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
                order.truncate(top_k);
                order
            })
            .collect();
        Self {
            experts,
            count,
            top_k,
        }
    }

    /// The (token, slot) pairs of an expert.
    fn of(&self, expert: usize) -> Vec<i32> {
        let pairs = self.experts.iter().enumerate();
        pairs
            .filter(|(_, e)| **e == expert)
            .map(|(pair, _)| pair as i32)
            .collect()
    }

    fn load(&self) -> Vec<f64> {
        let tokens = (self.experts.len() / self.top_k).max(1) as f64;
        let mut load = vec![0.0; self.count];
        for expert in &self.experts {
            load[*expert] += 1.0 / tokens;
        }
        load
    }
}

fn ints<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

impl Experts {
    /// Initial weights depend on the initializer and on `block`, the name of the block the layer is in.
    pub fn new(
        plan: &LayerPlan,
        router: &SitePlan,
        block: &str,
        d: &Dims,
        init: Initializer,
        device: &Device,
    ) -> Self {
        let config = d.experts.clone();
        let network = |kind: &str, n: usize, d: &Dims| {
            Mlp::new(plan, &format!("{block}.moe.{kind}.{n}"), d, init, device)
        };
        let of_shared = d.of_shared_experts();
        let path = format!("{block}.{}", Site::Router);
        Self {
            router: Projection::new(router, Site::Router, &path, d, init, device),
            correction: (config.balance == Balance::Bias).then(|| {
                let zeros = Tensor::zeros([config.count], device);
                Param::from_tensor(zeros).set_require_grad(false)
            }),
            experts: (0..config.count)
                .map(|n| network("experts", n, d))
                .collect(),
            shared: (0..config.shared)
                .map(|n| network("shared", n, &of_shared))
                .collect(),
            combine: plan.mlp.combine,
            config,
        }
    }

    /// The same experts whose products round their factors to a precision.
    ///
    /// The router's stay in single precision: a rounding there sends tokens to other experts. Source: Switch Transformers
    /// (2101.03961), section 2.4.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        let all = |experts: Vec<Mlp>| -> Vec<Mlp> {
            let experts = experts.into_iter();
            experts.map(|mlp| mlp.with_precision(precision)).collect()
        };
        self.experts = all(self.experts);
        self.shared = all(self.shared);
        self
    }

    /// The mixture at each position, and what the router did.
    ///
    /// The choice is made on the host, which reads the `N E` gates of the block from the device.
    ///
    /// # Shapes
    /// - `x`: `[B, T, D]`
    /// - output: `[B, T, D]`
    #[allow(clippy::needless_pass_by_value)] // as every other module takes its input
    pub fn forward(&self, x: Tensor<3>) -> (Tensor<3>, Routing) {
        let [b, t, width] = x.dims();
        let (tokens, count, top_k) = (b * t, self.config.count, self.config.top_k);
        let device = x.device();
        let logits: Tensor<2> = self.router.forward(x.clone()).reshape([tokens, count]);
        let gates = match self.config.gates {
            Gates::Softmax => softmax(logits.clone(), 1),
            Gates::Sigmoid => sigmoid(logits.clone()),
        };
        let choice = self.choose(&gates);
        let routing = self.routing(&choice, logits, gates.clone());

        let slots: Vec<i32> = choice.experts.iter().map(|e| *e as i32).collect();
        let gates = gates.gather(1, ints(slots, [tokens, top_k], &device));
        let gates = match self.config.kept {
            Kept::Renormalized => gates.clone() / gates.sum_dim(1),
            Kept::AsIs => gates,
        };
        let gates = gates.mul_scalar(self.config.scale);
        let shrink = self.shrink(&gates);
        let gates = match self.combine {
            Combine::Sum | Combine::UnitLength => gates,
            // The root of 0 has no derivative; a gate this small has no weight.
            Combine::Sqrt => gates.clamp_min(LEAST_GATE).sqrt(),
        };
        let gates: Tensor<2> = gates.reshape([tokens * top_k, 1]);

        let flat: Tensor<2> = x.clone().reshape([tokens, width]);
        let mut y = flat.zeros_like();
        for (n, expert) in self.experts.iter().enumerate() {
            let mut pairs = choice.of(n);
            // An expert that nobody chose runs on one token with weight 0: its gradient is then zero and not absent.
            let idle = pairs.is_empty();
            if idle {
                pairs.push(0);
            }
            let rows = pairs.len();
            let from = pairs.iter().map(|pair| pair / top_k as i32).collect();
            let from = ints(from, [rows], &device);
            let own = flat.clone().select(0, from.clone());
            let out: Tensor<2> = expert.forward(own.unsqueeze::<3>()).reshape([rows, width]);
            let weight = gates.clone().select(0, ints(pairs, [rows], &device));
            let weight = if idle { weight.mul_scalar(0.0) } else { weight };
            y = y.select_assign(0, from, out * weight, IndexingUpdateOp::Add);
        }
        let mut y: Tensor<3> = y.reshape([b, t, width]);
        for expert in &self.shared {
            y = y + expert.forward(x.clone());
        }
        let y = match shrink {
            Some(factor) => y * factor.reshape([b, t, 1]),
            None => y,
        };
        (scaled(y, self.share()), routing)
    }

    fn choose(&self, gates: &Tensor<2>) -> Choice {
        let scores = match &self.correction {
            Some(bias) => gates.clone() + bias.val().unsqueeze(),
            None => gates.clone(),
        };
        // A device that can't hand over numbers fails at the next read too; until then any choice will do.
        let scores = scores.into_data().convert::<f64>();
        let scores = scores.try_to_vec().unwrap_or_default();
        Choice::new(&scores, self.config.count, self.config.top_k)
    }

    fn routing(&self, choice: &Choice, logits: Tensor<2>, gates: Tensor<2>) -> Routing {
        let probability = match self.config.gates {
            Gates::Softmax => gates,
            Gates::Sigmoid => gates.clone() / gates.sum_dim(1),
        };
        let largest = logits.clone().max_dim(1).detach();
        let sum = (logits - largest.clone()).exp().sum_dim(1);
        let z = (sum.log() + largest).square().mean_dim(0).reshape([1]);
        Routing {
            load: choice.load(),
            probability: probability.mean_dim(0).reshape([self.config.count]),
            z,
        }
    }

    /// `1 / sqrt(sum g^2)` of each token, `[N, 1]`, where the plan asks for it: expert outputs are nearly independent, so
    /// their sum has the length of one. Shared experts have weight 1. No gradient passes.
    fn shrink(&self, gates: &Tensor<2>) -> Option<Tensor<2>> {
        match self.combine {
            Combine::Sum | Combine::Sqrt => None,
            Combine::UnitLength => {
                let square = gates.clone().detach().square().sum_dim(1);
                let square = square.add_scalar(self.config.shared as f64);
                Some(square.sqrt().recip())
            }
        }
    }

    /// What of each summand's length is left to it beside the shared experts, where gates are square roots: their squares
    /// sum to 1.
    fn share(&self) -> f64 {
        match self.combine {
            Combine::Sum | Combine::UnitLength => 1.0,
            Combine::Sqrt => (1.0 + self.config.shared as f64).sqrt().recip(),
        }
    }

    /// The same experts with the correction moved by `bias_rate` towards an even load, `load [E]`; nothing where the
    /// load is balanced otherwise.
    #[must_use]
    pub fn rebalanced(mut self, load: &[f64]) -> Self {
        let mean = load.iter().sum::<f64>() / load.len().max(1) as f64;
        let rate = self.config.bias_rate;
        self.correction = self.correction.map(|bias| {
            bias.map(|b| {
                let step: Vec<f64> = load
                    .iter()
                    .map(|l| match (mean - l).partial_cmp(&0.0) {
                        Some(std::cmp::Ordering::Greater) => rate,
                        Some(std::cmp::Ordering::Less) => -rate,
                        _ => 0.0,
                    })
                    .collect();
                let data = TensorData::new(step, [load.len()]).convert_dtype(b.dtype());
                let step = Tensor::from_data(data, (&b.device(), b.dtype()));
                b + step
            })
        });
        self
    }
}

/// The balancing and z losses of all blocks, weighted, in nats per token; none where both weights are 0.
///
/// Source: Switch Transformers (2101.03961), equation 4; ST-MoE (2202.08906), equation 5.
pub fn penalty(config: &ExpertsConfig, routing: &[Routing]) -> Option<Tensor<1>> {
    let blocks = routing.len() as f64;
    let first = routing.first()?;
    let device = first.probability.device();
    let dtype = first.probability.dtype();
    let constant = |values: &[f64]| -> Tensor<1> {
        let data = TensorData::new(values.to_vec(), [values.len()]).convert_dtype(dtype);
        Tensor::from_data(data, (&device, dtype))
    };
    let mean = |of: &dyn Fn(&Routing) -> Tensor<1>| {
        let terms = routing.iter().map(of);
        terms
            .reduce(|a, b| a + b)
            .map(|sum| sum.mul_scalar(blocks.recip()))
    };
    let balance = match config.balance {
        Balance::None | Balance::Bias => None,
        Balance::LayerLoss => mean(&|r| (r.probability.clone() * constant(&r.load)).sum_dim(0)),
        Balance::PooledLoss => {
            let load: Vec<f64> = (0..config.count)
                .map(|e| routing.iter().map(|r| r.load[e]).sum::<f64>() / blocks)
                .collect();
            mean(&|r| r.probability.clone()).map(|p| (p * constant(&load)).sum_dim(0))
        }
    };
    let balance = balance
        .filter(|_| config.balance_coef > 0.0)
        .map(|b| b.mul_scalar(config.balance_coef * config.count as f64));
    let z = mean(&|r| r.z.clone())
        .filter(|_| config.z_coef > 0.0)
        .map(|z| z.mul_scalar(config.z_coef));
    match (balance, z) {
        (Some(balance), Some(z)) => Some(balance + z),
        (one, other) => one.or(other),
    }
}
