//! What every scheme must hold to, whatever it decides.

use crate::common::{Subject, VOCAB, config, distance, model, numbers, plan, subjects, tokens};
use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use evenburn_geometry::{Axis, Constraint};
use evenburn_model::plan::{AttentionFactor, Combine};
use evenburn_model::strategy::{AnGpt, PreNorm, Scheme};
use evenburn_model::{
    Decoder, HeadWeights, KvCache, ModelConfig, Noise, ParamRef, Plan, Recompute, Sampler, weights,
};
use std::collections::BTreeMap;

#[test]
fn each_parameter_is_planned_once_and_has_an_address() {
    for scheme in subjects() {
        for head in [HeadWeights::Untied, HeadWeights::Tied] {
            let config = ModelConfig {
                head,
                ..scheme.config.clone()
            };
            let plan = Plan::new(&config, scheme.scheme.strategy()).unwrap();
            let model = Decoder::new(&plan, 0, &Device::flex());
            let planned: Vec<_> = plan
                .params()
                .into_iter()
                .map(|s| (s.path, s.shape))
                .collect();
            let built: Vec<_> = weights::collect(&model)
                .into_iter()
                .map(|(path, data)| (path, data.shape().to_vec()))
                .collect();
            assert_eq!(planned, built, "{}", scheme.name());
            assert_eq!(plan.cost().params, model.num_params());
            for (path, _) in built {
                ParamRef::from_path(&path).unwrap();
            }
        }
    }
}

#[test]
fn initial_loss_is_near_that_of_a_uniform_guess() {
    let device = Device::flex();
    for scheme in subjects() {
        let model = Decoder::new(&plan(&scheme), 5, &device);
        let loss = model.loss_sum(tokens(1, &device), tokens(2, &device), None);
        let loss = numbers(loss)[0] / 24.0;
        assert!(
            (loss - (VOCAB as f64).ln()).abs() < 1.5,
            "{}: {loss}",
            scheme.name()
        );
    }
}

#[test]
fn initial_weights_satisfy_their_constraints() {
    for scheme in subjects() {
        let plan = plan(&scheme);
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
                scheme.name(),
                spec.path
            );
        }
    }
}

#[test]
fn a_later_token_changes_nothing_earlier() {
    let device = Device::flex();
    for scheme in subjects() {
        let model = model(&scheme, &device);
        let first = tokens(1, &device);
        let changed = first
            .clone()
            .slice_assign([0..2, 8..9], Tensor::from_ints([[3], [4]], &device));
        let logits = |t| model.logits(model.hidden(t, None));
        let (a, b) = (logits(first), logits(changed));
        let early = |x: &Tensor<3>| numbers(x.clone().narrow(1, 0, 8));
        let late = |x: &Tensor<3>| numbers(x.clone().narrow(1, 8, 4));
        assert_eq!(early(&a), early(&b), "{}", scheme.name());
        assert!(distance(&late(&a), &late(&b)) > 1e-6, "{}", scheme.name());
    }
}

#[test]
fn nothing_leaks_across_a_document_boundary() {
    let device = Device::flex().autodiff();
    for scheme in subjects() {
        let model = model(&scheme, &device);
        let all = tokens(3, &device);
        let segments: Vec<i32> = (0..24).map(|i| i32::from(i % 12 >= 5)).collect();
        let segments = Tensor::<2, Int>::from_data(TensorData::new(segments, [2, 12]), &device);
        // The second document alone, at the start of a sequence.
        let together = model
            .logits(model.hidden(all.clone(), Some(segments.clone())))
            .narrow(1, 5, 7);
        let alone = model.logits(model.hidden(all.clone().narrow(1, 5, 7), None));
        let error = distance(&numbers(together), &numbers(alone));
        assert!(error < 1e-9, "{}: {error}", scheme.name());

        // A loss on the second document moves no embedding that only the first one has.
        let targets: Vec<i32> = (0..24).map(|i| if i % 12 >= 5 { 1 } else { -1 }).collect();
        let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [2, 12]), &device);
        let gradients = model
            .loss_sum(all.clone(), targets, Some(segments))
            .backward();
        let gradient = numbers(model.embed.weight.grad(&gradients).unwrap());
        let tokens: Vec<i64> = all.into_data().convert::<i64>().try_to_vec().unwrap();
        let second: Vec<i64> = tokens
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 12 >= 5)
            .map(|(_, t)| *t)
            .collect();
        let touched = |token: i64| {
            let row = token as usize * 24;
            gradient[row..row + 24].iter().any(|g| *g != 0.0)
        };
        for token in 0..VOCAB as i64 {
            assert_eq!(
                touched(token),
                second.contains(&token),
                "{} token {token}",
                scheme.name()
            );
        }
    }
}

#[test]
fn ignored_targets_do_not_count() {
    let device = Device::flex();
    for scheme in subjects() {
        let model = model(&scheme, &device);
        let targets = tokens(2, &device);
        let masked = |from: usize, to: usize| {
            let gap = Tensor::<2, Int>::full([2, to - from], -1, &device);
            let kept = targets.clone().slice_assign([0..2, from..to], gap);
            numbers(model.loss_sum(tokens(1, &device), kept, None))[0]
        };
        let whole = numbers(model.loss_sum(tokens(1, &device), targets.clone(), None))[0];
        assert!(
            (masked(0, 6) + masked(6, 12) - whole).abs() < 1e-9 * whole,
            "{}",
            scheme.name()
        );
        assert!(masked(0, 12).abs() < f64::MIN_POSITIVE);
    }
}

#[test]
fn the_cache_changes_no_logit() {
    let device = Device::flex();
    for scheme in subjects() {
        let model = model(&scheme, &device);
        let all = tokens(4, &device);
        let full = model.logits(model.hidden(all.clone(), None));
        let mut cache = KvCache::new(&model);
        let mut parts = Vec::new();
        for (start, len) in [(0, 3), (3, 1), (4, 5), (9, 1), (10, 2)] {
            let new = all.clone().narrow(1, start, len);
            parts.push(model.forward_cached(new, &mut cache).unwrap());
        }
        let error = distance(&numbers(Tensor::cat(parts, 1)), &numbers(full));
        assert!(error < 1e-10, "{}: {error}", scheme.name());
        let sampler = Sampler {
            temperature: 1.0,
            ..Sampler::default()
        };
        let draw = |recompute| {
            model
                .generate(&[1, 2, 3], 13, None, &sampler, recompute)
                .unwrap()
        };
        assert_eq!(
            draw(Recompute::Cached),
            draw(Recompute::Full),
            "{}",
            scheme.name()
        );
    }
}

#[test]
fn gradients_match_finite_differences() {
    let device = Device::flex().autodiff();
    for scheme in subjects() {
        let plan = plan(&scheme);
        // The length of a sum of experts or of values is corrected by a factor that no gradient passes through.
        let layer = &plan.layers[0];
        let detached = layer.router.is_some() && layer.mlp.combine == Combine::UnitLength;
        if detached || layer.attention.factor == AttentionFactor::Exact {
            continue;
        }
        let model = model(&scheme, &device);
        let loss = |m: &Decoder| m.loss_sum(tokens(1, &device), tokens(2, &device), None);
        let gradients = loss(&model).backward();
        let embedding = numbers(model.embed.weight.grad(&gradients).unwrap());
        let scale = embedding.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        let values: BTreeMap<_, _> = weights::collect(&model).into_iter().collect();
        for entry in [24 * 3, 24 * 6 + 5, 24 * 11 + 17] {
            let moved = |by: f64| {
                let mut values = values.clone();
                let mut v: Vec<f64> = values["embed.weight"].try_to_vec().unwrap();
                v[entry] += by;
                values.insert("embed.weight".into(), TensorData::new(v, [VOCAB, 24]));
                numbers(loss(&weights::replace(model.clone(), values).unwrap()))[0]
            };
            let h = 1e-6;
            let difference = (moved(h) - moved(-h)) / (2.0 * h);
            let error = (difference - embedding[entry]).abs() / scale;
            assert!(
                error < 1e-6,
                "{}: {difference} {}",
                scheme.name(),
                embedding[entry]
            );
        }
    }
}

#[test]
fn number_formats_are_the_weights() {
    let device = Device::flex();
    let scheme = &subjects()[0];
    let hidden = model(scheme, &device).hidden(tokens(1, &device), None);
    assert_eq!(hidden.dtype(), DType::F64);
    let hidden = Decoder::new(&plan(scheme), 1, &device).hidden(tokens(1, &device), None);
    assert_eq!(hidden.dtype(), DType::F32);
}

#[test]
fn foreign_weights_are_refused_and_named() {
    let device = Device::flex();
    let build = || Decoder::new(&plan(&subjects()[0]), 1, &device);
    let values: BTreeMap<_, _> = weights::collect(&build()).into_iter().collect();
    let mut missing = values.clone();
    missing.remove("head.weight");
    let message = weights::replace(build(), missing).unwrap_err().to_string();
    assert!(message.contains("missing [head.weight]"), "{message}");
    let mut unexpected = values.clone();
    unexpected.insert(
        "blocks.9.attn.q.weight".into(),
        values["head.weight"].clone(),
    );
    let message = weights::replace(build(), unexpected)
        .unwrap_err()
        .to_string();
    assert!(message.contains("blocks.9"), "{message}");
    let mut shape = values.clone();
    shape.insert("head.weight".into(), values["embed.weight"].clone());
    let message = weights::replace(build(), shape).unwrap_err().to_string();
    assert!(
        message.contains("head.weight") && message.contains("[24, 37]"),
        "{message}"
    );
}

#[test]
fn contradictory_decisions_are_refused() {
    let bad = AnGpt {
        alpha_scale: 0.0,
        ..AnGpt::default()
    };
    let message = Plan::new(&config(), &bad).unwrap_err().to_string();
    assert!(
        message.contains("angpt") && message.contains("block 0"),
        "{message}"
    );
    let bad = PreNorm {
        eps: f64::NAN,
        ..PreNorm::default()
    };
    assert!(Plan::new(&config(), &bad).is_err());
}

#[test]
fn dropout_is_on_where_it_is_asked_for() {
    let device = Device::flex().autodiff();
    let noise = |step| Noise {
        seed: 5,
        step,
        part: 0,
    };
    for scheme in Scheme::all() {
        let with = |dropout| Subject {
            name: scheme.name().to_owned(),
            config: ModelConfig {
                dropout,
                ..config()
            },
            scheme: scheme.clone(),
        };
        let loss = |subject: &Subject, noise| {
            let model = model(subject, &device);
            let objective = model.objective(tokens(1, &device), tokens(2, &device), None, noise);
            numbers(objective.loss_sum)[0]
        };
        let (on, off) = (with(0.2), with(0.0));
        let plain = loss(&off, None);
        assert!((loss(&off, Some(noise(1))) - plain).abs() < f64::MIN_POSITIVE);
        assert!((loss(&on, None) - plain).abs() < f64::MIN_POSITIVE);
        let first = loss(&on, Some(noise(1)));
        assert!((loss(&on, Some(noise(1))) - first).abs() < f64::MIN_POSITIVE);
        assert!((first - plain).abs() > 1e-6);
        assert!((loss(&on, Some(noise(2))) - first).abs() > 1e-6);
    }
    let bad = ModelConfig {
        dropout: 1.0,
        ..config()
    };
    let error = Plan::new(&bad, Scheme::default().strategy()).unwrap_err();
    assert!(error.to_string().contains("model.dropout"), "{error}");
}
