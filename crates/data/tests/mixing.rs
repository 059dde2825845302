//! Mixtures of streams: which sample comes from where, resume, ranks.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::OnceLock;

use common::Fixture;
use evenburn_data::{
    Batch, Corpus, DataError, Mixture, MixturePosition, MixtureSource, SourcePosition, Stream,
    Weight, draw,
};
use proptest::prelude::*;

const T: usize = 12;
const NAMES: [&str; 3] = ["web", "code", "books"];

/// Three corpora, of different lengths.
fn corpora() -> &'static [Corpus; 3] {
    static CORPORA: OnceLock<(Vec<Fixture>, [Corpus; 3])> = OnceLock::new();
    let (_, corpora) = CORPORA.get_or_init(|| {
        let fixtures =
            [(4, 9), (2, 5), (1, 3)].map(|(files, documents)| Fixture::new(files, documents));
        let corpora = fixtures.each_ref().map(Fixture::corpus);
        (fixtures.into(), corpora)
    });
    corpora
}

fn stream(source: usize, seed: u64) -> Stream {
    Stream::new(corpora()[source].train.clone(), T, seed).unwrap()
}

fn mixture(weights: &[Weight], seed: u64) -> Mixture {
    let source = |(source, weight): (usize, &Weight)| MixtureSource {
        name: NAMES[source].into(),
        weight: weight.clone(),
        stream: stream(source, seed),
    };
    Mixture::new(weights.iter().enumerate().map(source).collect(), T, seed)
}

/// What a mixture is by its definition: draw a source, take its next sample.
fn by_definition(weights: &[Weight], seed: u64, samples: u64) -> (Vec<Batch>, Vec<SourcePosition>) {
    let mut streams: Vec<Stream> = (0..weights.len())
        .map(|source| stream(source, seed))
        .collect();
    let mut drawn = vec![0; weights.len()];
    let mut all = Vec::new();
    for number in 0..samples {
        let now: Vec<f64> = weights.iter().map(|w| w.at(number * T as u64)).collect();
        let source = draw(seed, number, &now);
        drawn[source] += 1;
        all.push(streams[source].next_batch(1).unwrap());
    }
    let positions = streams
        .iter()
        .zip(drawn)
        .map(|(stream, samples)| SourcePosition {
            samples,
            cursor: stream.cursor(),
        });
    (all, positions.collect())
}

fn joined(samples: &[Batch]) -> Batch {
    let mut all = Batch::new(T);
    for sample in samples {
        all.append(sample.clone());
    }
    all
}

/// Weights that change a few times, one of them above 0 always.
fn weights() -> impl Strategy<Value = Vec<Weight>> {
    let value = || prop_oneof![Just(0.0), 0.01f64..5.0];
    let step = (1u64..800, value());
    let steps = (value(), prop::collection::vec(step, 0..3)).prop_map(|(first, more)| {
        let mut steps = vec![(0, first)];
        for (after, weight) in more {
            steps.push((steps.last().unwrap().0 + after, weight));
        }
        Weight::Steps(steps)
    });
    let one = prop_oneof![value().prop_map(Weight::Constant), steps];
    (0.01f64..5.0, prop::collection::vec(one, 0..3)).prop_map(|(first, mut more)| {
        more.insert(0, Weight::Constant(first));
        more
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// In batches of any sizes, stopped anywhere and resumed from JSON.
    #[test]
    fn mixtures_are_what_their_definition_says(
        weights in weights(), seed: u64, sizes in prop::collection::vec(1usize..9, 1..40), cut in 0usize..40,
    ) {
        let total: usize = sizes.iter().sum();
        let (wanted, positions) = by_definition(&weights, seed, total as u64);
        let mut found = mixture(&weights, seed);
        let mut read = 0;
        for (number, n) in sizes.iter().enumerate() {
            if number == cut {
                let saved = serde_json::to_string(&found.position()).unwrap();
                found = mixture(&weights, seed);
                found.seek(&serde_json::from_str(&saved).unwrap()).unwrap();
            }
            let batch = found.next_batch(*n).unwrap();
            prop_assert_eq!(batch, joined(&wanted[read..read + n]));
            read += n;
        }
        for (name, position) in NAMES.into_iter().zip(positions) {
            prop_assert_eq!(found.position().sources[name], position);
        }
    }

    /// Ranks interleaved are one rank, also when their number changes.
    #[test]
    fn ranks_share_one_sequence(weights in weights(), seed: u64, world in 1usize..5, then in 1usize..5, n in 1usize..6) {
        let mut single = mixture(&weights, seed);
        let mut position = single.position();
        for world in [world, then] {
            let wanted: Vec<_> = (0..n * world).map(|_| single.next_batch(1).unwrap()).collect();
            let mut after = Vec::new();
            for rank in 0..world {
                let mut part = mixture(&weights, seed).for_rank(rank, world).unwrap();
                part.seek(&position).unwrap();
                let own: Vec<_> = wanted.iter().skip(rank).step_by(world).cloned().collect();
                prop_assert_eq!(part.next_batch(n).unwrap(), joined(&own));
                after.push(part.position());
            }
            position = single.position();
            prop_assert!(after.iter().all(|at| *at == position));
        }
    }
}

#[test]
fn a_mixture_of_one_source_is_its_stream() {
    let mut alone = stream(0, 5);
    let mut mixed = mixture(&[Weight::Constant(0.3)], 5);
    for _ in 0..30 {
        assert_eq!(mixed.next_batch(7).unwrap(), alone.next_batch(7).unwrap());
    }
    assert_eq!(mixed.position().sources["web"].cursor, alone.cursor());
    assert_eq!(mixed.position().sources["web"].samples, 210);
}

#[test]
fn a_small_source_begins_again_while_a_large_one_goes_on() {
    let mut mixed = mixture(&[1.0, 1.0, 1.0].map(Weight::Constant), 5);
    mixed.next_batch(256).unwrap();
    let at = mixed.position();
    let epochs = NAMES.map(|name| at.sources[name].cursor.epoch);
    assert!(epochs[0] < epochs[1] && epochs[1] < epochs[2], "{epochs:?}");
}

#[test]
fn positions_of_other_sources_are_refused() {
    let mut mixed = mixture(&[1.0, 1.0].map(Weight::Constant), 5);
    mixed.next_batch(9).unwrap();
    let before = mixed.position();
    for position in [
        MixturePosition::default(),
        mixture(&[Weight::Constant(1.0)], 5).position(),
        mixture(&[1.0; 3].map(Weight::Constant), 5).position(),
    ] {
        let error = mixed.seek(&position).unwrap_err();
        assert!(matches!(error, DataError::Config { .. }), "{error}");
    }
    let mut outside = before.clone();
    outside.sources.get_mut("code").unwrap().cursor.shard = 99;
    assert!(matches!(
        mixed.seek(&outside),
        Err(DataError::Cursor { .. })
    ));
    assert_eq!(mixed.position(), before);
    let error = mixture(&[Weight::Constant(1.0)], 5)
        .for_rank(2, 2)
        .unwrap_err();
    assert!(error.to_string().contains("rank"), "{error}");
}
