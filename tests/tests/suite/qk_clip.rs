//! Attention scores: what the decoder reports, and what clipping makes of them.

use crate::program::{sandbox, text};
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_model::strategy::{PreNorm, QkNorm};
use evenburn_model::{Biases, Decoder, ForwardContext, ModelConfig, Plan, Positions, weights};
use evenburn_optim::{qk_clip, scale_heads};
use evenburn_tests::cli::Sandbox;
use std::collections::BTreeMap;

const WIDTH: usize = 12;
const HEAD: usize = 5;
const TIME: usize = 6;

fn config(heads: usize, kv_heads: usize) -> ModelConfig {
    ModelConfig {
        vocab_size: 23,
        dim: WIDTH,
        layers: 2,
        heads,
        kv_heads: Some(kv_heads),
        head_dim: Some(HEAD),
        context: 8,
        positions: Positions::None,
        biases: Biases::Qkv,
        ..ModelConfig::default()
    }
}

/// In f64, with weights that make large scores.
fn model(heads: usize, kv_heads: usize) -> Decoder {
    let scheme = PreNorm {
        qk: QkNorm::None,
        ..PreNorm::default()
    };
    let plan = Plan::new(&config(heads, kv_heads), &scheme).unwrap();
    let model = Decoder::new(&plan, 3, &Device::flex());
    let values = weights::collect(&model)
        .into_iter()
        .enumerate()
        .map(|(n, (path, data))| {
            let shape = data.shape().clone();
            let v: Vec<f64> = data.convert::<f64>().try_to_vec().unwrap();
            let wave = |i: usize| ((i * 7 + n * 3) as f64).sin();
            let of = |(i, v): (usize, f64)| match shape.len() {
                1 => v + 0.3 * wave(i),
                _ => 40.0 * v,
            };
            let v: Vec<f64> = v.into_iter().enumerate().map(of).collect();
            (path, TensorData::new(v, shape))
        });
    weights::replace(model, values).unwrap()
}

const TOKENS: [[i32; TIME]; 2] = [[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]];

fn largest(model: &Decoder) -> Vec<Vec<f64>> {
    let tokens = Tensor::<2, Int>::from_ints(TOKENS, &Device::flex());
    let context = ForwardContext {
        measure_scores: true,
        ..Default::default()
    };
    let scores = model.forward(tokens, &context).largest_scores;
    let numbers = |x: Tensor<1>| x.into_data().convert::<f64>().try_to_vec().unwrap();
    scores.into_iter().map(numbers).collect()
}

/// Of the first block, number by number.
fn by_loops(model: &Decoder, heads: usize, kv_heads: usize) -> Vec<f64> {
    let all: BTreeMap<String, Vec<f64>> = weights::collect(model)
        .into_iter()
        .map(|(path, data)| (path, data.convert::<f64>().try_to_vec().unwrap()))
        .collect();
    let gain = &all["blocks.0.attn_residual.input.gain.value"];
    let linear = |site: &str, x: &[f64], outputs: usize| -> Vec<f64> {
        let weight = &all[&format!("blocks.0.attn.{site}.weight")];
        let bias = &all[&format!("blocks.0.attn.{site}.bias")];
        (0..outputs)
            .map(|o| {
                bias[o]
                    + (0..WIDTH)
                        .map(|i| x[i] * weight[i * outputs + o])
                        .sum::<f64>()
            })
            .collect()
    };
    let mut found = vec![f64::NEG_INFINITY; heads];
    for row in TOKENS {
        let (mut q, mut k) = (Vec::new(), Vec::new());
        for token in row {
            let h = &all["embed.weight"][token as usize * WIDTH..][..WIDTH];
            let square = h.iter().map(|h| h * h).sum::<f64>() / WIDTH as f64;
            let x: Vec<f64> = h
                .iter()
                .zip(gain)
                .map(|(h, g)| g * h / (square + 1e-5).sqrt())
                .collect();
            q.push(linear("q", &x, heads * HEAD));
            k.push(linear("k", &x, kv_heads * HEAD));
        }
        for (head, found) in found.iter_mut().enumerate() {
            let group = head * kv_heads / heads;
            for (last, query) in q.iter().enumerate() {
                for key in &k[..=last] {
                    let dot: f64 = (0..HEAD)
                        .map(|c| query[head * HEAD + c] * key[group * HEAD + c])
                        .sum();
                    *found = found.max(dot / (HEAD as f64).sqrt());
                }
            }
        }
    }
    found
}

#[test]
fn the_largest_scores_are_those_of_the_loops_and_end_at_the_bound() {
    for (heads, kv_heads) in [(4, 4), (6, 2), (3, 1)] {
        let model = model(heads, kv_heads);
        let before = largest(&model);
        for (found, expected) in before[0].iter().zip(by_loops(&model, heads, kv_heads)) {
            assert!((found / expected - 1.0).abs() < 1e-12, "{found} {expected}");
        }
        // Some heads of the first block are above it; the second block reads a stream that changes with the first.
        let mut sorted = before[0].clone();
        sorted.sort_by(f64::total_cmp);
        let threshold = 0.9 * sorted[heads / 2];
        let (q, k) = qk_clip(&before[0], kv_heads, threshold);
        let factors = [("q", q), ("k", k)]
            .into_iter()
            .flat_map(|(site, factor)| {
                let path = move |part| format!("blocks.0.attn.{site}.{part}");
                [(path("weight"), factor.clone()), (path("bias"), factor)]
            })
            .collect();
        let after = largest(&scale_heads(model, &factors));
        for (before, after) in before[0].iter().zip(&after[0]) {
            let expected = before.min(threshold);
            assert!(
                (after / expected - 1.0).abs() < 1e-12,
                "{before} {after} {threshold}"
            );
        }
    }
}

#[test]
fn a_run_keeps_its_scores_below_the_bound_or_refuses_to() {
    let (_folder, sandbox) = sandbox();
    let clip = [
        "--optim.qk_clip",
        "0.02",
        "--norm.qk",
        "none",
        "--no-baselines",
    ];
    text(&sandbox, &Sandbox::train("pre_norm", "run", &clip));
    let text = std::fs::read_to_string(sandbox.path("run").join("metrics.jsonl")).unwrap();
    let scores: Vec<f64> = text
        .lines()
        .map(|line| {
            let fields: serde_json::Value = serde_json::from_str(line).unwrap();
            fields["attn/largest_score"].as_f64().unwrap()
        })
        .collect();
    assert_eq!(scores.len(), 40);
    // Training pushes them up, and one step doesn't push far.
    assert!(scores.iter().any(|score| *score > 0.02), "{scores:?}");
    assert!(scores.iter().all(|score| *score < 0.2), "{scores:?}");

    for (scheme, why) in [
        ("angpt", "normalizes q and k"),
        ("ngpt", "normalizes q and k"),
    ] {
        let clip = ["--optim.qk_clip", "100"];
        let output = sandbox.run(&Sandbox::train(scheme, "none", &clip)).unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains("optim.qk_clip") && message.contains(why),
            "{message}"
        );
    }
}
