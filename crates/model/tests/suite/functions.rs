//! Functions in place of a scheme's RMSNorm against their formulas, written as loops over channels.

use crate::common::{config, distance, numbers, plan, subjects};
use crate::gradients::{by_path, values, with};
use crate::theory::Normal;
use burn::tensor::{DType, Device, Tensor, TensorData};
use evenburn_model::function::{
    Anchored, Around, Function, GatedNorm, Layer, Moment, Placed, PlacedAt, PreAffine,
    Scheduled as _, SeedNorm, Taper,
};
use evenburn_model::modules::Norm;
use evenburn_model::plan::{GainPlan, GainRole, NormPlan};
use evenburn_model::strategy::{Bias, Decay, Olmo2, PreNorm, Statistics};
use evenburn_model::{Kinds, ModelConfig, ParamRole, Placement, Plan, ScaleSwitches};
use std::collections::BTreeMap;

const WIDTH: usize = 12;
const ROWS: usize = 5;
const EPS: f64 = 1e-5;

type Arrays = BTreeMap<String, Vec<f64>>;

fn rms(x: &[f64]) -> f64 {
    let square: f64 = x.iter().map(|v| v * v).sum();
    (square / x.len() as f64 + EPS).sqrt()
}

/// One row of a layer's result.
fn formula(name: &str, parts: usize, x: &[f64], arrays: &Arrays) -> Vec<f64> {
    let gain = &arrays["gain.value"];
    let (r, width) = (rms(x), x.len());
    match name {
        "seed_norm" => {
            let part = width / parts;
            let of = |channel: usize| {
                let first = channel / part * part;
                let along: f64 = (first..first + part)
                    .map(|i| x[i] * arrays["seed"][i])
                    .sum();
                along.tanh()
            };
            (0..width)
                .map(|i| (gain[i] + arrays["dyn"][i] * of(i)) * x[i] / r)
                .collect()
        }
        "gated_norm" => {
            let y: Vec<f64> = (0..width).map(|i| gain[i] * x[i] / r).collect();
            let (down, up) = (&arrays["down"], &arrays["up"]);
            let rank = down.len() / width;
            let narrow: Vec<f64> = (0..rank)
                .map(|k| {
                    let z: f64 = (0..width).map(|i| y[i] * down[i * rank + k]).sum();
                    z / (1.0 + (-z).exp())
                })
                .collect();
            let gate = |i: usize| {
                let z: f64 = (0..rank).map(|k| narrow[k] * up[k * width + i]).sum();
                1.0 / (1.0 + (-z).exp())
            };
            (0..width).map(|i| y[i] * gate(i)).collect()
        }
        "pre_affine" => {
            let z: Vec<f64> = (0..width).map(|i| arrays["lambda"][i] * x[i]).collect();
            let r = rms(&z);
            (0..width).map(|i| gain[i] * z[i] / r).collect()
        }
        _ => {
            let (gate, c) = (arrays["gate"][0], arrays["c"][0]);
            let scale = |i: usize| gate * gain[i] / r + (1.0 - gate) * c * arrays["copy"][i];
            (0..width).map(|i| scale(i) * x[i]).collect()
        }
    }
}

fn layer(function: &Function) -> NormPlan {
    NormPlan {
        function: function.clone(),
        ..NormPlan::rms(EPS, GainRole::Output)
    }
}

fn functions() -> Vec<(Function, usize)> {
    vec![
        (SeedNorm::default().into(), 1),
        (SeedNorm { heads: 3 }.into(), 3),
        (GatedNorm { rank: 4 }.into(), 1),
        (PreAffine {}.into(), 1),
        (Taper::fixed(0.3, 0.7).into(), 1),
    ]
}

/// A layer in f64 with random arrays, except those that are state, and its rows `[ROWS, WIDTH]`.
fn random(function: &Function, seed: u64, device: &Device) -> (Norm, Vec<f64>) {
    let mut draw = Normal::new(seed);
    let norm = layer(function).init_full(WIDTH, device);
    let mut all = values(&norm);
    for (path, values) in &mut all {
        if path != "gate" && path != "c" {
            *values = draw.take(values.len());
        }
    }
    (with(norm, &all), draw.take(ROWS * WIDTH))
}

fn tensor(x: &[f64], device: &Device) -> Tensor<2> {
    let data = TensorData::new(x.to_vec(), [ROWS, WIDTH]);
    Tensor::from_data(data, (device, DType::F64))
}

#[test]
fn every_function_is_its_formula() {
    let device = Device::flex();
    for (seed, (function, parts)) in functions().into_iter().enumerate() {
        let (norm, x) = random(&function, seed as u64, &device);
        let arrays = values(&norm);
        let rows = x.chunks(WIDTH);
        let expected = rows.flat_map(|row| formula(function.name(), parts, row, &arrays));
        let expected: Vec<f64> = expected.collect();
        let found = numbers(norm.forward(tensor(&x, &device)));
        let error = distance(&found, &expected);
        assert!(error < 1e-12, "{}: {error}", function.name());
    }
}

#[test]
fn every_gradient_is_that_of_the_formula() {
    let device = Device::flex().autodiff();
    for (seed, (function, parts)) in functions().into_iter().enumerate() {
        let (norm, x) = random(&function, 10 + seed as u64, &device);
        let weights = Normal::new(99).take(ROWS * WIDTH);
        let arrays = values(&norm);
        let loss = |x: &[f64], arrays: &Arrays| -> f64 {
            let rows = x.chunks(WIDTH);
            let y = rows.flat_map(|row| formula(function.name(), parts, row, arrays));
            y.zip(&weights).map(|(y, w)| y * w).sum()
        };
        let input = tensor(&x, &device).require_grad();
        let y = norm.forward(input.clone()) * tensor(&weights, &device);
        let gradients = y.sum().backward();

        let h = 1e-6;
        let slope = |value: &dyn Fn(f64) -> f64| (value(h) - value(-h)) / (2.0 * h);
        let found = numbers(input.grad(&gradients).unwrap());
        for (i, found) in found.iter().enumerate() {
            let expected = slope(&|by| {
                let mut x = x.clone();
                x[i] += by;
                loss(&x, &arrays)
            });
            let error = (found - expected).abs();
            assert!(error < 1e-7, "{} x {i}: {error}", function.name());
        }
        let found = by_path(&norm, &gradients);
        for (path, found) in &found {
            for (i, found) in found.iter().enumerate() {
                let expected = slope(&|by| {
                    let mut arrays = arrays.clone();
                    arrays.get_mut(path).unwrap()[i] += by;
                    loss(&x, &arrays)
                });
                let error = (found - expected).abs();
                assert!(error < 1e-7, "{} {path} {i}: {error}", function.name());
            }
        }
        let state = arrays.keys().filter(|path| !found.contains_key(*path));
        let state: Vec<&String> = state.collect();
        let expected: &[&str] = match function.name() {
            "taper" => &["c", "gate"],
            _ => &[],
        };
        assert_eq!(state, expected, "{}", function.name());
    }
}

#[test]
fn before_training_they_are_rms_norm_or_half_of_it() {
    let device = Device::flex();
    let x = tensor(&Normal::new(3).take(ROWS * WIDTH), &device).cast(DType::F32);
    let of = |plan: &NormPlan| numbers(plan.init_full(WIDTH, &device).forward(x.clone()));
    let plain = of(&NormPlan::rms(EPS, GainRole::Output));
    let same: [Function; 3] = [
        SeedNorm { heads: 4 }.into(),
        PreAffine {}.into(),
        Taper::default().into(),
    ];
    for function in &same {
        let error = distance(&of(&layer(function)), &plain);
        assert!(error < 1e-6, "{}: {error}", function.name());
    }
    let gated = of(&layer(&GatedNorm::default().into()));
    for (gated, plain) in gated.iter().zip(&plain) {
        assert!((gated / plain - 0.5).abs() < 0.02, "{gated} of {plain}");
    }
}

fn with_function(placed: Placed, strategy: &PreNorm) -> Plan {
    let config = ModelConfig {
        function: Some(placed),
        ..config()
    };
    Plan::new(&config, strategy).unwrap()
}

#[test]
fn a_function_stands_where_it_is_meant_to() {
    let everywhere = with_function(SeedNorm { heads: 3 }.into(), &PreNorm::default());
    let inputs = with_function(Taper::default().into(), &PreNorm::default());
    let chosen = Placed {
        at: Some(PlacedAt::Inputs),
        ..SeedNorm::default().into()
    };
    let chosen = with_function(chosen, &PreNorm::default());
    for (plan, name, last) in [
        (&everywhere, "seed_norm", true),
        (&inputs, "taper", false),
        (&chosen, "seed_norm", false),
    ] {
        for layer in &plan.layers {
            for residual in [&layer.attn_residual, &layer.mlp_residual] {
                let norm = residual.input.as_ref().unwrap();
                assert_eq!(norm.function.name(), name);
                // No matrix can absorb a gain that isn't last.
                assert_eq!(norm.gain.as_ref().unwrap().role, GainRole::Output);
            }
            // Normalizations of products are no part of it.
            assert_eq!(layer.q.linear.norm.as_ref().unwrap().function.name(), "rms");
        }
        let end = plan.ends.head.final_norm.as_ref().unwrap();
        assert_eq!(end.function.name() == name, last);
    }
    let affine = with_function(PreAffine {}.into(), &PreNorm::default());
    let end = affine.ends.head.final_norm.unwrap();
    assert_eq!(end.gain.unwrap().role, GainRole::Input);
}

#[test]
fn arrays_decay_as_their_gain_and_matrices_as_matrices() {
    let strategy = |decay| PreNorm {
        decay,
        bias: Bias::Learned,
        ..PreNorm::default()
    };
    for decay in [Decay::Matrices, Decay::All] {
        let all = decay == Decay::All;
        for (placed, arrays) in [
            (Placed::from(SeedNorm::default()), &["dyn", "seed"][..]),
            (PreAffine {}.into(), &["lambda"]),
            (Taper::default().into(), &["copy"]),
        ] {
            let specs = with_function(placed, &strategy(decay)).params();
            for array in arrays {
                let path = format!("blocks.1.mlp_residual.input.{array}");
                let spec = specs.iter().find(|s| s.path == path).unwrap();
                assert_eq!((spec.decay, spec.role), (all, ParamRole::Gain), "{path}");
            }
        }
        let specs = with_function(GatedNorm::default().into(), &strategy(decay)).params();
        for (array, shape) in [("down", [24, 16]), ("up", [16, 24])] {
            let path = format!("final_norm.{array}");
            let spec = specs.iter().find(|s| s.path == path).unwrap();
            assert_eq!((spec.decay, spec.role), (true, ParamRole::Matrix), "{path}");
            assert_eq!(spec.shape, shape);
        }
    }
}

/// The message of a refusal has all of these.
fn refused(
    config: &ModelConfig,
    strategy: &dyn evenburn_model::strategy::NormStrategy,
    parts: &[&str],
) {
    let message = Plan::new(config, strategy).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn what_can_not_be_is_refused_by_both_decisions() {
    let placed = |function: Placed| ModelConfig {
        function: Some(function),
        ..config()
    };
    let taper = placed(Taper::default().into());
    let nowhere = ["model.function.name = \"taper\"", "without RMSNorm"];
    refused(&taper, &Olmo2::default(), &nowhere);
    let layer_norm = PreNorm {
        norm: Statistics::Layer,
        ..PreNorm::default()
    };
    refused(&taper, &layer_norm, &nowhere);
    let heads = placed(SeedNorm { heads: 7 }.into());
    let parts = ["block 0", "SeeDNorm of 7 parts", "24 channels"];
    refused(&heads, &PreNorm::default(), &parts);
    let rank = placed(GatedNorm { rank: 0 }.into());
    refused(&rank, &PreNorm::default(), &["a gate of rank 0"]);
    for gate in [-0.1, 1.5, f64::NAN] {
        let gate = placed(Taper::fixed(gate, 1.0).into());
        refused(&gate, &PreNorm::default(), &["a gate of"]);
    }
    let c = placed(Taper::fixed(0.5, 0.0).into());
    refused(&c, &PreNorm::default(), &["a constant of 0"]);
    let moved = ModelConfig {
        scale: ScaleSwitches {
            placement: Some(Placement::Heterogeneous),
            ..ScaleSwitches::default()
        },
        ..placed(SeedNorm::default().into())
    };
    let parts = ["`seed_norm`", "scale vectors per linear map"];
    refused(&moved, &PreNorm::default(), &parts);
}

#[test]
fn no_matrix_is_promised_a_gain_that_is_not_last() {
    let subjects = subjects();
    let subject = subjects.iter().find(|s| s.name == "pre_norm").unwrap();
    let mut plan = plan(subject);
    let input = plan.layers[1].mlp_residual.input.as_mut().unwrap();
    input.function = SeedNorm::default().into();
    let message = plan.validate().unwrap_err().to_string();
    for part in ["block 1, mlp_residual, input norm", "absorb", "`seed_norm`"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let input = plan.layers[1].mlp_residual.input.as_mut().unwrap();
    input.gain = Some(GainPlan::ones(GainRole::Output));
    plan.validate().unwrap();
}

/// Its size forgotten anyway, a vector need not be normalized before.
#[test]
fn a_norm_that_is_undone_by_a_function_is_refused() {
    let bare = NormPlan {
        gain: None,
        ..NormPlan::rms(EPS, GainRole::Output)
    };
    for (function, undone) in [
        (Function::from(GatedNorm::default()), true),
        (PreAffine {}.into(), true),
        (SeedNorm::default().into(), false),
        (Taper::default().into(), false),
        (Layer {}.into(), true),
    ] {
        let mut plan = Plan::new(&config(), &PreNorm::default()).unwrap();
        plan.layers[2].mlp_residual.after = Some(bare.clone());
        let end = plan.ends.head.final_norm.as_mut().unwrap();
        end.function = function.clone();
        end.gain = Some(GainPlan::ones(GainRole::Output));
        assert_eq!(plan.validate().is_err(), undone, "{}", function.name());
    }
}

#[test]
fn a_section_is_read_back_and_resolved() {
    let text =
        serde_json::json!({ "function": { "name": "seed_norm", "heads": 3, "at": "inputs" } });
    let mut read: ModelConfig = serde_json::from_value(text).unwrap();
    // Nobody has looked it up yet.
    let unknown = Plan::new(
        &ModelConfig {
            function: read.function.clone(),
            ..config()
        },
        &PreNorm::default(),
    );
    assert!(unknown.unwrap_err().to_string().contains("`seed_norm`"));
    Kinds::default().resolve_config(&mut read).unwrap();
    let placed = Placed {
        at: Some(PlacedAt::Inputs),
        ..SeedNorm { heads: 3 }.into()
    };
    assert_eq!(read.function, Some(placed));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(
        written["function"],
        serde_json::json!({ "name": "seed_norm", "heads": 3, "at": "inputs" })
    );

    for (section, part) in [
        (serde_json::json!({ "name": "no_such" }), "`no_such`"),
        (
            serde_json::json!({ "name": "seed_norm", "head": 3 }),
            "unknown field `head`",
        ),
    ] {
        let text = serde_json::json!({ "function": section });
        let mut read: ModelConfig = serde_json::from_value(text).unwrap();
        let message = Kinds::default()
            .resolve_config(&mut read)
            .unwrap_err()
            .to_string();
        assert!(message.contains(part), "{message}");
    }
    let nameless = serde_json::json!({ "function": { "heads": 3 } });
    let message = serde_json::from_value::<ModelConfig>(nameless).unwrap_err();
    assert!(message.to_string().contains("`name`"), "{message}");
}

/// What a layer measures and sets in a run of 20 steps whose first 4 are the warm-up.
#[test]
fn a_taper_measures_then_goes_its_way() {
    let device = Device::flex();
    let taper = Taper {
        warmup: 0.2,
        rate: 0.3,
        ..Taper::default()
    };
    let (norm, _) = random(&taper.into(), 5, &device);
    let mut arrays = values(&norm);
    arrays.insert("normalized".into(), vec![0.0]);
    arrays.insert("plain".into(), vec![0.0]);
    arrays.insert("gate".into(), vec![1.0]);
    let gain = arrays["gain.value"].clone();
    let mut draw = Normal::new(77);
    // The averages, written as sums over the steps.
    let (mut sums, mut seen) = ([0.0, 0.0], Vec::new());
    let at = |step| Moment { step, total: 20 };
    let mut gates = Vec::new();
    for step in 1..=20 {
        let x = draw.take(ROWS * WIDTH);
        let measured = taper.measures(at(step - 1));
        assert_eq!(measured, step <= 4);
        let found = if measured {
            let around = Around {
                gain: Some(Tensor::from_data(
                    TensorData::new(gain.clone(), [WIDTH]),
                    (&device, DType::F64),
                )),
                eps: EPS,
                arrays: &norm.arrays,
            };
            numbers(taper.measured(tensor(&x, &device), &around))
        } else {
            Vec::new()
        };
        if measured {
            let mut means = [0.0, 0.0];
            for row in x.chunks(WIDTH) {
                let square: f64 = row.iter().zip(&gain).map(|(x, g)| (x * g).powi(2)).sum();
                means[0] += square / rms(row) / ROWS as f64;
                means[1] += square / ROWS as f64;
            }
            assert!(distance(&found, &means) < 1e-10);
            seen.push(means);
            sums = [0, 1].map(|i| {
                let weighted = seen.iter().rev().enumerate();
                weighted
                    .map(|(age, m)| 0.3 * 0.7_f64.powi(age as i32) * m[i])
                    .sum()
            });
        }
        let read = |name: &str| match name {
            "gain" => gain.clone(),
            name => arrays.get(name).cloned().unwrap_or_default(),
        };
        for (name, values) in taper.after_step(at(step), &read, &found) {
            arrays.insert(name.to_owned(), values);
        }
        gates.push(arrays["gate"][0]);
        if step == 4 {
            assert_eq!(arrays["copy"], gain);
            let c = arrays["c"][0];
            assert!((c - sums[0] / sums[1]).abs() < 1e-12, "{c}");
        }
    }
    for (index, gate) in gates.iter().enumerate() {
        let part = (index as f64 - 3.0).max(0.0) / 16.0;
        let expected = 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
        assert!((gate - expected).abs() < 1e-12, "{gates:?}");
        let shown = taper.metric(at(index as u64 + 1));
        assert_eq!(shown, Some(("taper/gate", *gate)));
    }
    // Exactly: folding asks for it.
    assert!(gates[19].abs() < f64::MIN_POSITIVE);
}

#[test]
fn the_last_norm_holds_the_size_it_has_seen() {
    let device = Device::flex().autodiff();
    let anchored = Anchored {
        weight: 0.5,
        warmup: 0.25,
        rate: 0.1,
    };
    let at = |step| Moment { step, total: 8 };
    let (mut mean, mut target) = (Vec::new(), Vec::new());
    for (step, size) in [(1, 3.0), (2, 5.0), (3, 100.0)] {
        let measured = anchored.measures(at(step - 1));
        let seen = [size];
        let read = |name: &str| match name {
            "mean" => mean.clone(),
            _ => Vec::new(),
        };
        let measured = if measured { &seen[..] } else { &[] };
        for (name, values) in anchored.after_step(at(step), &read, measured) {
            match name {
                "mean" => mean = values,
                _ => target = values,
            }
        }
        assert_eq!(target.is_empty(), step < 2);
    }
    // The weights of two steps, made to sum to 1.
    let expected = (0.09 * 3.0 + 0.1 * 5.0) / 0.19;
    assert!((target[0] - expected).abs() < 1e-12, "{target:?}");

    let norm = layer(&anchored.into()).init_full(WIDTH, &device);
    let mut all = values(&norm);
    all.insert("target".into(), target.clone());
    let norm = with(norm, &all);
    let around = Around {
        gain: None,
        eps: EPS,
        arrays: &norm.arrays,
    };
    let x = Normal::new(8).take(ROWS * WIDTH);
    let input = tensor(&x, &device).require_grad();
    assert!(anchored.penalty(at(1), input.clone(), &around).is_none());
    let penalty = anchored.penalty(at(2), input.clone(), &around).unwrap();
    let formula = |x: &[f64]| -> f64 {
        let rows = x.chunks(WIDTH).map(|row| (rms(row) - target[0]).powi(2));
        0.5 * rows.sum::<f64>() / ROWS as f64
    };
    assert!((numbers(penalty.clone())[0] - formula(&x)).abs() < 1e-12);
    let gradient = numbers(input.grad(&penalty.backward()).unwrap());
    for (i, found) in gradient.iter().enumerate() {
        let moved = |by: f64| {
            let mut x = x.clone();
            x[i] += by;
            formula(&x)
        };
        let expected = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        assert!((found - expected).abs() < 1e-7, "{i}: {found} {expected}");
    }
}

#[test]
fn a_scheduled_taper_brings_the_norm_that_holds_the_stream() {
    let scheduled = with_function(Taper::default().into(), &PreNorm::default());
    let end = scheduled.ends.head.final_norm.unwrap();
    assert_eq!(end.function.name(), "anchored");
    assert_eq!(end.gain.unwrap().role, GainRole::Input);
    for taper in [
        Taper::fixed(0.5, 1.0),
        Taper {
            penalty: 0.0,
            ..Taper::default()
        },
    ] {
        let plan = with_function(taper.into(), &PreNorm::default());
        assert_eq!(plan.ends.head.final_norm.unwrap().function.name(), "rms");
    }
    let everywhere = Placed {
        at: Some(PlacedAt::InputsAndFinal),
        ..Taper::default().into()
    };
    let config = ModelConfig {
        function: Some(everywhere),
        ..config()
    };
    let parts = [
        "model.function.at = \"inputs_and_final\"",
        "the loss of its schedule",
    ];
    refused(&config, &PreNorm::default(), &parts);
}
