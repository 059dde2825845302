//! A model before it is trained.

use crate::{Subject, VOCAB, by_path, numbers, tokens, values, with};
use burn::tensor::{DType, Device, Tensor};
use evenburn_geometry::{Axis, Constraint};
use evenburn_model::{Decoder, ForwardContext, ModelConfig, Noise, weights};
use std::collections::{BTreeMap, BTreeSet};

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

/// The initial loss is near that of a uniform guess: `ln V`, and what the spread of the logits adds.
///
/// A logit is the product of what the decoder says of a position with a column of the output layer, whose initial entries
/// are independent of it and of the targets. So logits are about normal around 0 with the variance `s^2 = |h|^2 w^2`, `h`
/// the position's vector and `w^2` the mean square of the layer's entries. Their logarithm of a sum of exponentials lies
/// between `ln V` and `ln V + s^2 / 2` (Jensen's inequality), and the mean logit of `n` different targets is 0 up to
/// `s / sqrt(n)`; three of those are left to chance. Logits whose spread alone costs as much as guessing are no uniform
/// guess any more.
pub fn initial_loss_is_near_that_of_a_uniform_guess(subject: &Subject) {
    const CHANCE: f64 = 3.0;
    let device = Device::flex();
    let model = Decoder::new(&subject.plan(), 5, &device);
    let targets = tokens(2, &device);
    let loss = numbers(model.loss_sum(tokens(1, &device), targets.clone()))[0] / 24.0;
    let hidden = model.hidden(tokens(1, &device));
    // The layer's matrix is what it makes of the unit vectors.
    let width = hidden.dims()[2];
    let matrix = numbers(model.logits(Tensor::eye(width, &device).unsqueeze()));
    let squares = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>();
    let spread = (squares(&numbers(hidden)) / 24.0 * squares(&matrix) / matrix.len() as f64).sqrt();
    let different: BTreeSet<i64> = numbers(targets.float()).iter().map(|v| *v as i64).collect();
    let chance = CHANCE * spread / (different.len() as f64).sqrt();
    let guess = (VOCAB as f64).ln();
    let (added, allowed) = (loss - guess, spread * spread / 2.0);
    assert!(
        added > -chance && added < allowed + chance && allowed < guess,
        "{}: {added} nats more than a uniform guess, with logits of the spread {spread}",
        subject.name
    );
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
