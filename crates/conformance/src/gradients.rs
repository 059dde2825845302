//! Gradients against finite differences.

use crate::{Subject, by_path, numbers, tokens, values, with};
use burn::tensor::Device;
use evenburn_model::Decoder;
use evenburn_model::plan::{AttentionFactor, Combine};
use std::collections::{BTreeMap, BTreeSet};

/// A path without the numbers in it: the parameters of one kind in all blocks and experts.
fn kind(path: &str) -> String {
    let parts: Vec<_> = path
        .split('.')
        .filter(|part| part.parse::<usize>().is_err())
        .collect();
    parts.join(".")
}

/// Numbers between -1 and 1 without a pattern that a model could share; `n` tells the parameters of a kind apart.
fn direction(n: usize, count: usize) -> Vec<f64> {
    let place = |i: usize| (i * 131 + n * 7919 + 1) as f64;
    let draw = |i| (place(i) * 12.9898).sin() * 43_758.545_3;
    (0..count)
        .map(|i| 2.0 * (draw(i) - f64::floor(draw(i))) - 1.0)
        .collect()
}

/// Gradients match finite differences: parameters of every kind, moved together along a direction of length 1.
pub fn gradients_match_finite_differences(subject: &Subject) {
    let device = Device::flex().autodiff();
    let plan = subject.plan();
    // The length of a sum of experts or of values is corrected by a factor that no gradient passes through.
    let layer = &plan.layers[0];
    let detached = layer.router.is_some() && layer.mlp.combine == Combine::UnitLength;
    if detached || layer.attention.factor == AttentionFactor::Exact {
        return;
    }
    let model = subject.model(&device);
    let loss = |m: &Decoder| m.loss_sum(tokens(1, &device), tokens(2, &device));
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
    assert!(trained.iter().eq(gradients.keys()), "{}", subject.name);
    for (kind, paths) in kinds {
        let mut direction: BTreeMap<&String, Vec<f64>> = paths
            .into_iter()
            .enumerate()
            .map(|(n, path)| (path, direction(n, all[path].len())))
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
            subject.name
        );
    }
}
