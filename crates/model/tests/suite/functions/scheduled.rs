//! Functions with a schedule: what they measure, set and add to the loss in the course of a run.

use super::{EPS, ROWS, WIDTH, layer, random, rms, tensor};
use crate::common::{distance, numbers};
use crate::gradients::{values, with};
use crate::theory::Normal;
use burn::tensor::{DType, Device, Tensor, TensorData};
use evenburn_model::function::{Anchored, Around, Moment, Scheduled as _, Taper};

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
