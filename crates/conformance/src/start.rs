//! A model before it is trained.

use crate::{Subject, VOCAB, by_path, numbers, tokens, values, with};
use burn::tensor::{DType, Device};
use evenburn_geometry::{Axis, Constraint};
use evenburn_model::{Decoder, ForwardContext, ModelConfig, Noise, weights};
use std::collections::BTreeMap;

/// Initial weights satisfy their constraints.
pub fn initial_weights_satisfy_their_constraints(subject: &Subject) {
    let plan = subject.plan();
    let model = Decoder::new(&plan, 5, &Device::flex());
    let values: BTreeMap<_, _> = weights::collect(&model).into_iter().collect();
    for spec in plan.params() {
        let (Constraint::Unit { along } | Constraint::AtMost { along, .. }) = spec.constraint
        else {
            continue;
        };
        let v: Vec<f64> = values[&spec.path]
            .clone()
            .convert::<f64>()
            .try_to_vec()
            .unwrap();
        let (rows, columns) = (spec.shape[0], spec.shape[1]);
        let count = if along == Axis::In { columns } else { rows };
        let mut squares = vec![0.0; count];
        for (i, v) in v.iter().enumerate() {
            squares[if along == Axis::In {
                i % columns
            } else {
                i / columns
            }] += v * v;
        }
        assert!(
            squares.iter().all(|s| (s - 1.0).abs() < 1e-5),
            "{} {}",
            subject.name,
            spec.path
        );
    }
}

/// The largest excess of the initial loss over that of a uniform guess, in nats: logits of variance 1, with which most
/// schemes start, add 1/2 on average; a stream that ends in a function that divides by no size, up to twice as much.
const SPREAD: f64 = 1.25;

/// The initial loss is that of the logits, and near that of a uniform guess: averaged over all targets, `ln V` and half the
/// variance of the logits.
pub fn initial_loss_is_near_that_of_a_uniform_guess(subject: &Subject) {
    let device = Device::flex();
    let model = Decoder::new(&subject.plan(), 5, &device);
    let logits = numbers(model.logits(model.hidden(tokens(1, &device))));
    let targets = numbers(tokens(2, &device).float());
    let (mut expected, mut excess) = (0.0, 0.0);
    for (row, target) in logits.chunks(VOCAB).zip(&targets) {
        let total = row.iter().map(|z| z.exp()).sum::<f64>().ln();
        let mean = row.iter().sum::<f64>() / VOCAB as f64;
        expected += total - row[*target as usize];
        excess += (total - mean - (VOCAB as f64).ln()) / targets.len() as f64;
    }
    let loss = numbers(model.loss_sum(tokens(1, &device), tokens(2, &device)))[0];
    let name = &subject.name;
    assert!((loss / expected - 1.0).abs() < 1e-5, "{name}: {loss}");
    assert!((0.0..SPREAD).contains(&excess), "{name}: {excess}");
}

/// Logits are finite at initialization, in f32 and in f64, and not all nothing.
pub fn logits_are_finite_at_initialization(subject: &Subject) {
    let device = Device::flex();
    let single = Decoder::new(&subject.plan(), 3, &device);
    let double = with(single.clone(), &values(&single));
    for (model, dtype) in [(single, DType::F32), (double, DType::F64)] {
        let logits = model.logits(model.hidden(tokens(1, &device)));
        assert_eq!(logits.dtype(), dtype);
        let logits = numbers(logits);
        assert!(logits.iter().all(|v| v.is_finite()), "{}", subject.name);
        // Not by being nothing.
        assert!(logits.iter().any(|v| *v != 0.0), "{}", subject.name);
    }
}

/// Dropout is on where a model has it and a step draws it, and off everywhere else.
pub fn dropout_is_on_where_it_is_asked_for(subject: &Subject) {
    let device = Device::flex().autodiff();
    let noise = |step| Noise {
        seed: 5,
        step,
        part: 0,
    };
    let with = |dropout| Subject {
        config: ModelConfig {
            dropout,
            ..subject.config.clone()
        },
        ..subject.clone()
    };
    let loss = |subject: &Subject, noise| {
        let model = subject.model(&device);
        let context = ForwardContext {
            noise,
            ..Default::default()
        };
        let objective = model.objective(tokens(1, &device), tokens(2, &device), &context);
        numbers(objective.loss_sum)[0]
    };
    let (on, off) = (with(0.2), with(0.0));
    let name = &subject.name;
    let plain = loss(&off, None);
    assert!(
        (loss(&off, Some(noise(1))) - plain).abs() < f64::MIN_POSITIVE,
        "{name}"
    );
    assert!(
        (loss(&on, None) - plain).abs() < f64::MIN_POSITIVE,
        "{name}"
    );
    let first = loss(&on, Some(noise(1)));
    assert!(
        (loss(&on, Some(noise(1))) - first).abs() < f64::MIN_POSITIVE,
        "{name}"
    );
    assert!((first - plain).abs() > 1e-6, "{name}");
    assert!((loss(&on, Some(noise(2))) - first).abs() > 1e-6, "{name}");

    // Where nearly everything is dropped whole vectors are zeros, which no normalization may make something else of.
    let model = with(0.9).model(&device);
    let context = ForwardContext {
        noise: Some(noise(1)),
        ..Default::default()
    };
    let objective = model.objective(tokens(1, &device), tokens(2, &device), &context);
    let gradients = by_path(&model, &objective.loss_sum.backward());
    let finite = gradients.values().flatten().all(|g| g.is_finite());
    assert!(finite, "{name}: gradients under dropout");
}
