//! Functions in place of a scheme's RMSNorm against their formulas, written as loops over channels.

mod placed;
mod scheduled;

use crate::common::{distance, numbers};
use crate::gradients::{by_path, values, with};
use crate::theory::Normal;
use burn::tensor::{DType, Device, Tensor, TensorData};
use evenburn_model::function::{Function, GatedNorm, PreAffine, SeedNorm, Taper};
use evenburn_model::modules::Norm;
use evenburn_model::plan::{GainRole, NormPlan};
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
