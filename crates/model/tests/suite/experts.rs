//! A mixture of experts against the slow, obvious computation: every expert on every token, unchosen weights zero.

use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_model::modules::{Experts, Initializer, penalty};
use evenburn_model::strategy::{AnGpt, NormStrategy, PreNorm, SimpleNorm};
use evenburn_model::{
    Balance, Decoder, ExpertsConfig, ForwardContext, Gates, Joined, Kept, ModelConfig, Plan,
    PlanError, weights,
};
use std::collections::BTreeMap;

const WIDTH: usize = 16;
const TOKENS: usize = 22;

fn config(experts: ExpertsConfig) -> ModelConfig {
    ModelConfig {
        vocab_size: 31,
        dim: WIDTH,
        layers: 2,
        heads: 2,
        hidden: Some(24),
        context: 16,
        experts,
        ..ModelConfig::default()
    }
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().convert::<f64>().try_to_vec().unwrap()
}

/// Waves that no two entries share, in f64.
fn wave<const D: usize>(shape: [usize; D], seed: f64, device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values: Vec<f64> = (0..count)
        .map(|i| ((i * i) as f64 * 0.37 + seed + i as f64 * 1.3).sin())
        .collect();
    Tensor::from_data(
        TensorData::new(values, shape),
        (device, burn::tensor::DType::F64),
    )
}

fn experts(config: &ModelConfig, strategy: &dyn NormStrategy, device: &Device) -> (Plan, Experts) {
    let plan = Plan::new(config, strategy).unwrap();
    let layer = &plan.layers[0];
    let router = layer.router.as_ref().unwrap();
    let block = Experts::new(
        layer,
        router,
        "block",
        plan.dims(),
        Initializer::new(3),
        device,
    );
    // In f64, with a router whose choices differ from token to token.
    let values: BTreeMap<_, _> = weights::collect(&block)
        .into_iter()
        .map(|(path, data)| {
            let shape = data.shape().clone();
            let scale = if path.starts_with("router") {
                40.0
            } else {
                5.0
            };
            let v: Vec<f64> = data.convert::<f64>().try_to_vec().unwrap();
            let v: Vec<f64> = v
                .into_iter()
                .map(|v| if shape.len() == 2 { v * scale } else { v })
                .collect();
            (path, TensorData::new(v, shape))
        })
        .collect();
    (plan, weights::replace(block, values).unwrap())
}

/// Which experts the reference chooses: those with fewer than `k` larger scores.
#[allow(clippy::float_cmp)] // ties are exact
fn chosen(scores: &[f64], count: usize, k: usize) -> Vec<f64> {
    scores
        .chunks(count)
        .flat_map(|row| {
            row.iter()
                .enumerate()
                .map(|(i, s)| {
                    let before = |(j, o): (usize, &f64)| *o > *s || (*o == *s && j < i);
                    let rank = row.iter().enumerate().filter(|p| before(*p)).count();
                    f64::from(u8::from(rank < k))
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

fn reference(experts: &Experts, c: &ExpertsConfig, unit: bool, x: &Tensor<3>) -> Tensor<3> {
    let [b, t, d] = x.dims();
    let device = x.device();
    let logits: Tensor<2> = experts.router.forward(x.clone()).reshape([b * t, c.count]);
    let gates = match c.gates {
        Gates::Softmax => softmax(logits, 1),
        Gates::Sigmoid => sigmoid(logits),
    };
    let scores = match &experts.correction {
        Some(bias) => gates.clone() + bias.val().unsqueeze(),
        None => gates.clone(),
    };
    let mask = TensorData::new(chosen(&numbers(scores), c.count, c.top_k), [b * t, c.count]);
    let gates = gates * Tensor::from_data(mask, (&device, burn::tensor::DType::F64));
    let gates = match c.kept {
        Kept::Renormalized => gates.clone() / gates.sum_dim(1),
        Kept::AsIs => gates,
    };
    let gates = gates.mul_scalar(c.scale);
    let mut y = x.zeros_like();
    for (n, expert) in experts.experts.iter().enumerate() {
        let g: Tensor<3> = gates.clone().narrow(1, n, 1).reshape([b, t, 1]);
        y = y + expert.forward(x.clone()) * g;
    }
    for shared in &experts.shared {
        y = y + shared.forward(x.clone());
    }
    if unit {
        let square = gates
            .detach()
            .square()
            .sum_dim(1)
            .add_scalar(c.shared as f64);
        y = y / square.sqrt().reshape([b, t, 1]);
    }
    assert_eq!(y.dims(), [b, t, d]);
    y
}

fn close(a: &[f64], b: &[f64], what: &str) {
    let largest = b.iter().fold(1e-12, |m: f64, v| m.max(v.abs()));
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-12 * largest, "{what}: {a} {b}");
    }
}

#[test]
fn grouping_tokens_changes_no_value_and_no_gradient() {
    let device = Device::flex().autodiff();
    let base = ExpertsConfig {
        count: 5,
        top_k: 2,
        shared: 1,
        ..ExpertsConfig::default()
    };
    let sigmoid = ExpertsConfig {
        top_k: 3,
        gates: Gates::Sigmoid,
        balance: Balance::Bias,
        scale: 2.5,
        shared: 0,
        ..base.clone()
    };
    let as_is = ExpertsConfig {
        kept: Kept::AsIs,
        top_k: 1,
        ..base.clone()
    };
    let strategies: [(&dyn NormStrategy, bool); 3] = [
        (&PreNorm::default(), false),
        (&SimpleNorm::default(), false),
        (&AnGpt::default(), true),
    ];
    for config_of in [base, sigmoid, as_is] {
        for (strategy, unit) in strategies {
            let (_, mut block) = experts(&config(config_of.clone()), strategy, &device);
            // A correction that changes some choices.
            block = block.rebalanced(&[9.0, 0.0, 9.0, 0.0, 2.0]);
            let x = wave([2, TOKENS / 2, WIDTH], 0.3, &device).require_grad();
            let weight = wave([2, TOKENS / 2, WIDTH], 2.9, &device);
            let (y, routing) = block.forward(x.clone());
            let slow = reference(&block, &config_of, unit, &x);
            close(&numbers(y.clone()), &numbers(slow.clone()), "values");
            let load: f64 = routing.load.iter().sum();
            assert!((load - config_of.top_k as f64).abs() < 1e-12);

            let fast = (y * weight.clone()).sum().backward();
            let slow = (slow * weight).sum().backward();
            close(
                &numbers(x.grad(&fast).unwrap()),
                &numbers(x.grad(&slow).unwrap()),
                "input",
            );
            let router = |g| numbers(block.router.weight.grad(g).unwrap());
            if config_of.top_k > 1 {
                close(&router(&fast), &router(&slow), "router");
            }
            for expert in &block.experts {
                // The reference has a gradient of exactly zero where no token chose the expert, and so must we.
                let up = |g| numbers(expert.up.weight.grad(g).unwrap());
                close(&up(&fast), &up(&slow), "expert");
            }
        }
    }
}

#[test]
fn what_a_router_reports_is_its_formula() {
    let device = Device::flex();
    for gates in [Gates::Softmax, Gates::Sigmoid] {
        let of = ExpertsConfig {
            count: 5,
            gates,
            ..ExpertsConfig::default()
        };
        let (_, block) = experts(&config(of), &PreNorm::default(), &device);
        let x = wave([2, TOKENS / 2, WIDTH], 0.3, &device);
        let logits = numbers(block.router.forward(x.clone()));
        let (mut shares, mut z) = (vec![0.0; 5], 0.0);
        for row in logits.chunks(5) {
            let gate = |l: &f64| match gates {
                Gates::Softmax => l.exp(),
                Gates::Sigmoid => 1.0 / (1.0 + (-l).exp()),
            };
            let sum: f64 = row.iter().map(gate).sum();
            for (share, l) in shares.iter_mut().zip(row) {
                *share += gate(l) / sum / TOKENS as f64;
            }
            let log = row.iter().map(|l| l.exp()).sum::<f64>().ln();
            z += log * log / TOKENS as f64;
        }
        let (_, routing) = block.forward(x);
        close(&numbers(routing.probability), &shares, "shares");
        close(&numbers(routing.z), &[z], "z");
    }
}

#[test]
fn the_balancing_losses_are_their_formulas() {
    let device = Device::flex().autodiff();
    let of = |balance, z_coef| ExpertsConfig {
        count: 4,
        balance,
        balance_coef: 0.5,
        z_coef,
        ..ExpertsConfig::default()
    };
    let (_, block) = experts(
        &config(of(Balance::None, 0.0)),
        &PreNorm::default(),
        &device,
    );
    let routing: Vec<_> = [0.1, 1.7]
        .map(|seed| block.forward(wave([1, TOKENS, WIDTH], seed, &device)).1)
        .into();
    let p: Vec<Vec<f64>> = routing
        .iter()
        .map(|r| numbers(r.probability.clone()))
        .collect();
    let value = |c: &ExpertsConfig| penalty(c, &routing).map(|t| numbers(t)[0]);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();

    let layer = 0.5 * 4.0 * (dot(&p[0], &routing[0].load) + dot(&p[1], &routing[1].load)) / 2.0;
    close(
        &[value(&of(Balance::LayerLoss, 0.0)).unwrap()],
        &[layer],
        "layer loss",
    );
    let mean = |a: &[f64], b: &[f64]| -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| 0.5 * (a + b)).collect()
    };
    let pooled = 0.5
        * 4.0
        * dot(
            &mean(&p[0], &p[1]),
            &mean(&routing[0].load, &routing[1].load),
        );
    close(
        &[value(&of(Balance::PooledLoss, 0.0)).unwrap()],
        &[pooled],
        "pooled loss",
    );
    assert!(
        (layer - pooled).abs() > 1e-6,
        "the two would not be told apart"
    );
    assert!(value(&of(Balance::None, 0.0)).is_none());

    // The z loss from the logits themselves.
    let x = wave([1, TOKENS, WIDTH], 0.1, &device);
    let logits = numbers(block.router.forward(x));
    let z: f64 = logits
        .chunks(4)
        .map(|row| row.iter().map(|v| v.exp()).sum::<f64>().ln().powi(2))
        .sum::<f64>()
        / TOKENS as f64;
    close(&numbers(routing[0].z.clone()), &[z], "z");
}

#[test]
fn an_even_load_has_the_balancing_loss_of_its_weight() {
    // With f_i = k / E and P_i = 1 / E the sum is k / E, so the loss is coef * k.
    let device = Device::flex();
    let c = ExpertsConfig {
        count: 4,
        top_k: 2,
        balance_coef: 0.01,
        z_coef: 0.0,
        ..ExpertsConfig::default()
    };
    let routing = evenburn_model::modules::Routing {
        load: vec![0.5; 4],
        probability: Tensor::full([4], 0.25, &device),
        z: Tensor::zeros([1], &device),
    };
    let loss = numbers(penalty(&c, &[routing]).unwrap())[0];
    assert!((loss - 0.02).abs() < 1e-8, "{loss}");
}

#[test]
fn the_correction_moves_by_its_rate_and_takes_no_gradient() {
    let device = Device::flex().autodiff();
    let c = ExpertsConfig {
        count: 3,
        top_k: 1,
        balance: Balance::Bias,
        bias_rate: 0.25,
        ..ExpertsConfig::default()
    };
    let plan = Plan::new(&config(c), &PreNorm::default()).unwrap();
    let model = Decoder::new(&plan, 1, &device);
    let model = model.rebalanced(&[vec![0.7, 0.1, 0.2], vec![1.0 / 3.0; 3]]);
    let correction = |block: usize| {
        let moe = model.blocks[block].moe.as_ref().unwrap();
        moe.correction.as_ref().unwrap().val()
    };
    assert_eq!(numbers(correction(0)), [-0.25, 0.25, 0.25]);
    assert_eq!(numbers(correction(1)), [0.0; 3]);
    let tokens = Tensor::<2, Int>::from_ints([[1, 2, 3, 4]], &device);
    let objective = model.objective(tokens.clone(), tokens, &ForwardContext::default());
    let gradients = (objective.loss_sum + objective.penalty.unwrap()).backward();
    assert!(correction(0).grad(&gradients).is_none());
    assert!(
        model.blocks[0]
            .moe
            .as_ref()
            .unwrap()
            .router
            .weight
            .grad(&gradients)
            .is_some()
    );
}

#[test]
fn impossible_mixtures_name_their_key() {
    let bad = |experts: ExpertsConfig| -> PlanError {
        Plan::new(&config(experts), &PreNorm::default()).unwrap_err()
    };
    let base = ExpertsConfig {
        count: 4,
        ..ExpertsConfig::default()
    };
    let above = bad(ExpertsConfig {
        top_k: 5,
        ..base.clone()
    });
    assert!(above.to_string().contains("experts.top_k"), "{above}");
    assert!(above.to_string().contains("count is 4"), "{above}");
    let none = bad(ExpertsConfig {
        top_k: 0,
        ..base.clone()
    });
    assert!(none.to_string().contains("experts.top_k"), "{none}");
    let nan = bad(ExpertsConfig {
        scale: f64::NAN,
        ..base
    });
    assert!(nan.to_string().contains("experts.scale"), "{nan}");
}

/// `y = (sum_i sqrt(g_i) E_i(x) + sum_s E_s(x)) / sqrt(1 + S)`, `g` the softmax over the logits that are kept, token by
/// token (`SqrtGate`, 2603.28743).
#[test]
fn gates_may_be_square_roots() {
    let device = Device::flex();
    for shared in [0, 1, 2] {
        let of = ExpertsConfig {
            count: 5,
            top_k: 2,
            shared,
            shared_hidden: (shared > 0).then_some(40),
            combine: Joined::Sqrt,
            ..ExpertsConfig::default()
        };
        let (plan, block) = experts(&config(of), &PreNorm::default(), &device);
        let widths = |kind: &str| -> Vec<usize> {
            let specs = plan.params().into_iter();
            specs
                .filter(|s| s.path.contains(kind) && s.path.ends_with("up.weight"))
                .map(|s| s.shape[1])
                .collect()
        };
        assert!(widths("moe.experts").iter().all(|width| *width == 24));
        assert_eq!(widths("moe.shared"), vec![40; 2 * shared]);

        let x = wave([1, TOKENS, WIDTH], 0.3, &device);
        let logits = numbers(block.router.forward(x.clone()));
        let routed: Vec<_> = block
            .experts
            .iter()
            .map(|e| numbers(e.forward(x.clone())))
            .collect();
        let always: Vec<_> = block
            .shared
            .iter()
            .map(|e| numbers(e.forward(x.clone())))
            .collect();
        let mut expected = Vec::new();
        for (token, logits) in logits.chunks(5).enumerate() {
            let mut order: Vec<usize> = (0..5).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            let sum: f64 = order[..2].iter().map(|e| logits[*e].exp()).sum();
            for channel in token * WIDTH..(token + 1) * WIDTH {
                let mut y = 0.0;
                for expert in &order[..2] {
                    y += (logits[*expert].exp() / sum).sqrt() * routed[*expert][channel];
                }
                for expert in &always {
                    y += expert[channel];
                }
                expected.push(y / (1.0 + shared as f64).sqrt());
            }
        }
        close(&numbers(block.forward(x).0), &expected, "roots of gates");
    }
}

#[test]
fn shared_experts_of_another_width_need_decisions_that_ignore_it() {
    let wide = ExpertsConfig {
        count: 4,
        shared: 1,
        shared_hidden: Some(40),
        ..ExpertsConfig::default()
    };
    // anGPT's constants depend on the width.
    let refused = Plan::new(&config(wide.clone()), &AnGpt::default()).unwrap_err();
    assert!(refused.to_string().contains("shared_hidden"), "{refused}");
    let none = ExpertsConfig { shared: 0, ..wide };
    let refused = Plan::new(&config(none), &PreNorm::default()).unwrap_err();
    assert!(
        refused.to_string().contains("experts.shared_hidden"),
        "{refused}"
    );
}
