//! What every scheme must hold to, whatever it decides.

use crate::common::{Subject, VOCAB, config, distance, model, numbers, plan, subjects, tokens};
use crate::gradients::{by_path, values, with};
use crate::theory::Normal;
use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use evenburn_geometry::{Axis, Constraint};
use evenburn_model::plan::{AttentionFactor, Combine};
use evenburn_model::strategy::{AnGpt, PreNorm, Scheme};
use evenburn_model::{
    Decoder, HeadWeights, KvCache, ModelConfig, Noise, ParamRef, Plan, Recompute, Sampler, weights,
};
use std::collections::{BTreeMap, BTreeSet};

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

/// Three documents in the first sequence, two in the second, cut elsewhere: a token of the second document changes its
/// own document from there on and nothing else in the batch, bit for bit.
#[test]
fn a_token_reaches_its_own_document_alone() {
    let device = Device::flex();
    let segments: Vec<i32> = [[4, 5, 3].as_slice(), &[7, 5]]
        .concat()
        .into_iter()
        .enumerate()
        .flat_map(|(document, length)| vec![document as i32; length])
        .collect();
    let segments = Tensor::<2, Int>::from_data(TensorData::new(segments, [2, 12]), &device);
    let changed = 5;
    let reached = 5..9;
    for scheme in subjects() {
        let model = model(&scheme, &device);
        let first = tokens(1, &device);
        let other = Tensor::from_ints([[3]], &device);
        let second = first
            .clone()
            .slice_assign([0..1, changed..changed + 1], other);
        assert_ne!(
            numbers(first.clone().float()),
            numbers(second.clone().float())
        );
        let logits = |t| numbers(model.logits(model.hidden(t, Some(segments.clone()))));
        let (a, b) = (logits(first), logits(second));
        for (place, (a, b)) in a.chunks(VOCAB).zip(b.chunks(VOCAB)).enumerate() {
            if reached.contains(&place) {
                assert!(distance(a, b) > 1e-9, "{} at {place}", scheme.name());
            } else {
                assert_eq!(a, b, "{} at {place}", scheme.name());
            }
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
                .generate(&[1, 2, 3], 13, &[], |_| true, &sampler, recompute)
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

/// A path without the numbers in it: the parameters of one kind in all blocks and experts.
fn kind(path: &str) -> String {
    let parts: Vec<_> = path
        .split('.')
        .filter(|part| part.parse::<usize>().is_err())
        .collect();
    parts.join(".")
}

/// Parameters of every kind, moved together along a random direction of length 1.
#[test]
fn gradients_match_finite_differences() {
    let device = Device::flex().autodiff();
    for (seed, scheme) in subjects().into_iter().enumerate() {
        let plan = plan(&scheme);
        // The length of a sum of experts or of values is corrected by a factor that no gradient passes through.
        let layer = &plan.layers[0];
        let detached = layer.router.is_some() && layer.mlp.combine == Combine::UnitLength;
        if detached || layer.attention.factor == AttentionFactor::Exact {
            continue;
        }
        let model = model(&scheme, &device);
        let loss = |m: &Decoder| m.loss_sum(tokens(1, &device), tokens(2, &device), None);
        let gradients = by_path(&model, &loss(&model).backward());
        let all = values(&model);
        let mut kinds: BTreeMap<String, Vec<&String>> = BTreeMap::new();
        for path in all.keys() {
            if gradients.contains_key(path) {
                kinds.entry(kind(path)).or_default().push(path);
            }
        }
        // Everything has a gradient but state.
        let specs = plan.params().into_iter();
        let trained: BTreeSet<String> = specs.filter(|s| s.trained).map(|s| s.path).collect();
        assert!(trained.iter().eq(gradients.keys()), "{}", scheme.name());
        let mut draw = Normal::new(seed as u64);
        for (kind, paths) in kinds {
            let mut direction: BTreeMap<&String, Vec<f64>> = paths
                .into_iter()
                .map(|path| (path, draw.take(all[path].len())))
                .collect();
            let square: f64 = direction.values().flatten().map(|v| v * v).sum();
            direction
                .values_mut()
                .flatten()
                .for_each(|v| *v /= square.sqrt());
            let moved = |by: f64| {
                let mut values = all.clone();
                for (path, direction) in &direction {
                    let values = values.get_mut(*path).unwrap();
                    for (v, d) in values.iter_mut().zip(direction) {
                        *v += by * d;
                    }
                }
                numbers(loss(&with(model.clone(), &values)))[0]
            };
            let pairs = direction
                .iter()
                .flat_map(|(path, direction)| gradients[*path].iter().zip(direction));
            let (slope, length) = pairs.fold((0.0, 0.0), |(slope, length): (f64, f64), (g, d)| {
                (slope + g * d, length + g * g)
            });
            let h = 1e-5;
            let difference = (moved(h) - moved(-h)) / (2.0 * h);
            let error = (difference - slope).abs();
            // The loss, about 90, is rounded to 1e-14.
            assert!(
                error < 1e-6 * length.sqrt() + 1e-8,
                "{} {kind}: {difference} {slope}",
                scheme.name()
            );
        }
    }
}

#[test]
fn logits_are_finite_at_initialization() {
    let device = Device::flex();
    for scheme in subjects() {
        let single = Decoder::new(&plan(&scheme), 3, &device);
        let double = with(single.clone(), &values(&single));
        for (model, dtype) in [(single, DType::F32), (double, DType::F64)] {
            let logits = model.logits(model.hidden(tokens(1, &device), None));
            assert_eq!(logits.dtype(), dtype);
            let logits = numbers(logits);
            assert!(logits.iter().all(|v| v.is_finite()), "{}", scheme.name());
            // Not by being nothing.
            assert!(logits.iter().any(|v| *v != 0.0), "{}", scheme.name());
        }
    }
}

#[test]
fn a_record_brings_back_every_bit() {
    let device = Device::flex();
    let bits = |model: &Decoder| -> Vec<u64> {
        let logits = numbers(model.logits(model.hidden(tokens(1, &device), None)));
        logits.into_iter().map(f64::to_bits).collect()
    };
    for scheme in subjects() {
        let plan = plan(&scheme);
        let double = model(&scheme, &device);
        for written in [Decoder::new(&plan, 7, &device), double] {
            let expected = bits(&written);
            let other = || Decoder::new(&plan, 8, &device);
            assert_ne!(bits(&other()), expected);
            let named: BTreeMap<_, _> = weights::collect(&written).into_iter().collect();
            let read = weights::replace(other(), named).unwrap();
            assert_eq!(bits(&read), expected, "{} by path", scheme.name());

            let bytes = written.into_record().into_bytes().unwrap();
            let read = other().load_record(ModuleRecord::from_bytes(bytes).unwrap());
            assert_eq!(bits(&read), expected, "{} as a record", scheme.name());
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
