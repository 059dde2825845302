//! What a token reaches: later tokens of its own document, with a cache as without one.

use crate::{Subject, VOCAB, distance, numbers, tokens};
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_model::{ForwardContext, KvCache, Recompute, Sampler};

/// A later token changes nothing earlier, and something later.
pub fn a_later_token_changes_nothing_earlier(subject: &Subject) {
    let device = Device::flex();
    let model = subject.model(&device);
    let first = tokens(1, &device);
    let changed = first
        .clone()
        .slice_assign([0..2, 8..9], Tensor::from_ints([[3], [4]], &device));
    let logits = |t| model.logits(model.hidden(t));
    let (a, b) = (logits(first), logits(changed));
    let early = |x: &Tensor<3>| numbers(x.clone().narrow(1, 0, 8));
    let late = |x: &Tensor<3>| numbers(x.clone().narrow(1, 8, 4));
    assert_eq!(early(&a), early(&b), "{}", subject.name);
    assert!(distance(&late(&a), &late(&b)) > 1e-6, "{}", subject.name);
}

/// A document is read as if it stood alone, and its loss moves no embedding of another one's tokens.
pub fn nothing_leaks_across_a_document_boundary(subject: &Subject) {
    let device = Device::flex().autodiff();
    let model = subject.model(&device);
    let all = tokens(3, &device);
    let segments: Vec<i32> = (0..24).map(|i| i32::from(i % 12 >= 5)).collect();
    let segments = Tensor::<2, Int>::from_data(TensorData::new(segments, [2, 12]), &device);
    // The second document alone, at the start of a sequence.
    let documents = ForwardContext {
        segments: Some(segments),
        ..Default::default()
    };
    let together = model
        .logits(model.forward(all.clone(), &documents).hidden)
        .narrow(1, 5, 7);
    let alone = model.logits(model.hidden(all.clone().narrow(1, 5, 7)));
    let error = distance(&numbers(together), &numbers(alone));
    assert!(error < 1e-9, "{}: {error}", subject.name);

    // A loss on the second document moves no embedding that only the first one has.
    let targets: Vec<i32> = (0..24).map(|i| if i % 12 >= 5 { 1 } else { -1 }).collect();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [2, 12]), &device);
    let objective = model.objective(all.clone(), targets, &documents);
    let gradients = objective.loss_sum.backward();
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
            subject.name
        );
    }
}

/// Three documents in the first sequence, two in the second, cut elsewhere: a token of the second document changes its
/// own document from there on and nothing else in the batch, bit for bit.
pub fn a_token_reaches_its_own_document_alone(subject: &Subject) {
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
    let model = subject.model(&device);
    let first = tokens(1, &device);
    let other = Tensor::from_ints([[3]], &device);
    let second = first
        .clone()
        .slice_assign([0..1, changed..changed + 1], other);
    assert_ne!(
        numbers(first.clone().float()),
        numbers(second.clone().float())
    );
    let documents = ForwardContext {
        segments: Some(segments),
        ..Default::default()
    };
    let logits = |t| numbers(model.logits(model.forward(t, &documents).hidden));
    let (a, b) = (logits(first), logits(second));
    for (place, (a, b)) in a.chunks(VOCAB).zip(b.chunks(VOCAB)).enumerate() {
        if reached.contains(&place) {
            assert!(distance(a, b) > 1e-9, "{} at {place}", subject.name);
        } else {
            assert_eq!(a, b, "{} at {place}", subject.name);
        }
    }
}

/// Targets of -1 don't count.
pub fn ignored_targets_do_not_count(subject: &Subject) {
    let device = Device::flex();
    let model = subject.model(&device);
    let targets = tokens(2, &device);
    let masked = |from: usize, to: usize| {
        let gap = Tensor::<2, Int>::full([2, to - from], -1, &device);
        let kept = targets.clone().slice_assign([0..2, from..to], gap);
        numbers(model.loss_sum(tokens(1, &device), kept))[0]
    };
    let whole = numbers(model.loss_sum(tokens(1, &device), targets.clone()))[0];
    assert!(
        (masked(0, 6) + masked(6, 12) - whole).abs() < 1e-9 * whole,
        "{}",
        subject.name
    );
    assert!(masked(0, 12).abs() < f64::MIN_POSITIVE);
}

/// The key/value cache changes no logit, however the tokens come, and no sampled text.
pub fn the_cache_changes_no_logit(subject: &Subject) {
    let device = Device::flex();
    let model = subject.model(&device);
    let all = tokens(4, &device);
    let full = model.logits(model.hidden(all.clone()));
    let mut cache = KvCache::new(&model);
    let mut parts = Vec::new();
    for (start, len) in [(0, 3), (3, 1), (4, 5), (9, 1), (10, 2)] {
        let new = all.clone().narrow(1, start, len);
        parts.push(model.forward_cached(new, &mut cache).unwrap());
    }
    let error = distance(&numbers(Tensor::cat(parts, 1)), &numbers(full));
    assert!(error < 1e-10, "{}: {error}", subject.name);
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
        subject.name
    );
}
