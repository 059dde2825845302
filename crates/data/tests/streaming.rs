//! Packing, order, resume, and the n-gram models on the same samples.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashSet;
use std::sync::OnceLock;

use burn_dataset::Dataset;
use common::Fixture;
use evenburn_data::{Baselines, Batch, Corpus, Cursor, DataError, Score, Stream};
use proptest::prelude::*;

const T: usize = 12;

/// Six training shards of different lengths.
fn corpus() -> &'static Corpus {
    static CORPUS: OnceLock<(Fixture, Corpus)> = OnceLock::new();
    let (_, corpus) = CORPUS.get_or_init(|| {
        let fixture = Fixture::new(6, 9);
        let corpus = fixture.corpus();
        (fixture, corpus)
    });
    corpus
}

fn stream(seed: u64) -> Stream {
    Stream::new(corpus().train.clone(), T, seed).unwrap()
}

fn rows(batch: &Batch) -> Vec<(Vec<i32>, Vec<i32>, Vec<i32>)> {
    let row = |v: &[i32], i: usize| v[i * T..(i + 1) * T].to_vec();
    (0..batch.batch)
        .map(|i| {
            (
                row(&batch.tokens, i),
                row(&batch.targets, i),
                row(&batch.segments, i),
            )
        })
        .collect()
}

#[test]
fn samples_tile_each_shard() {
    let store = &corpus().train;
    for shard in 0..store.windows() {
        let n = store.samples_in(shard, T);
        let mut last = None;
        for index in 0..n {
            let sample = store.sample(shard, index, T).unwrap().tokens;
            assert_eq!(sample.len(), T + 1);
            // Where one sample ends, the next begins: its last target is their first input.
            if let Some(last) = last {
                assert_eq!(sample[0], last);
            }
            last = sample.last().copied();
        }
        assert!(matches!(
            store.sample(shard, n, T),
            Err(DataError::Cursor { .. })
        ));
    }
    let tokens = store.tokens() as usize;
    assert!(store.samples(T) as usize * T <= tokens - store.windows());
    assert!((store.samples(T) as usize + store.windows()) * T >= tokens - store.windows());
}

#[test]
fn every_sample_of_an_epoch_comes_once() {
    let store = &corpus().train;
    let total = store.samples(T) as usize;
    let stored: Vec<_> = store
        .batches(T, 5, None)
        .unwrap()
        .flat_map(|b| rows(&b.unwrap()))
        .collect();
    assert_eq!(stored.len(), total);
    for seed in [0, 1, u64::MAX] {
        let mut stream = stream(seed);
        for epoch in 0..2 {
            assert_eq!(
                stream.cursor(),
                Cursor {
                    epoch,
                    shard: 0,
                    window: 0,
                    sample: 0
                }
            );
            let mut seen = rows(&stream.next_batch(total).unwrap());
            assert_ne!(seen, stored);
            let mut all = stored.clone();
            seen.sort();
            all.sort();
            assert_eq!(seen, all);
        }
    }
    assert_ne!(
        stream(0).next_batch(8).unwrap(),
        stream(1).next_batch(8).unwrap()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// N batches straight = k batches, the cursor as JSON, a new stream, the rest.
    #[test]
    fn resume_is_exact(seed: u64, sizes in prop::collection::vec(1usize..9, 1..40), cut in 0usize..40) {
        let mut straight = stream(seed);
        let want: Vec<_> = sizes.iter().map(|n| straight.next_batch(*n).unwrap()).collect();
        let cut = cut.min(sizes.len());
        let mut first = stream(seed);
        let mut got: Vec<_> = sizes[..cut].iter().map(|n| first.next_batch(*n).unwrap()).collect();
        let saved = serde_json::to_string(&first.cursor()).unwrap();
        let mut second = stream(seed);
        second.seek(serde_json::from_str(&saved).unwrap()).unwrap();
        got.extend(sizes[cut..].iter().map(|n| second.next_batch(*n).unwrap()));
        prop_assert_eq!(got, want);
        prop_assert_eq!(second.cursor(), straight.cursor());
    }

    /// Ranks interleaved = one rank, also when the number of ranks changes in between.
    #[test]
    fn ranks_share_one_sequence(seed: u64, world in 1usize..6, then in 1usize..6, n in 1usize..7, steps in 1usize..9) {
        let mut single = stream(seed);
        let mut cursor = Cursor::default();
        for world in [world, then] {
            let mut ranks: Vec<_> = (0..world).map(|r| stream(seed).for_rank(r, world).unwrap()).collect();
            for rank in &mut ranks {
                rank.seek(cursor).unwrap();
            }
            for _ in 0..steps {
                let parts: Vec<_> = ranks.iter_mut().map(|r| rows(&r.next_batch(n).unwrap())).collect();
                let want = rows(&single.next_batch(n * world).unwrap());
                let got: Vec<_> = (0..n * world).map(|i| parts[i % world][i / world].clone()).collect();
                prop_assert_eq!(got, want);
            }
            cursor = ranks[0].cursor();
            prop_assert!(ranks.iter().all(|r| r.cursor() == cursor));
            prop_assert_eq!(cursor, single.cursor());
        }
    }
}

#[test]
fn cursors_outside_the_data_are_refused() {
    let mut stream = stream(3);
    stream.next_batch(2).unwrap();
    let before = stream.cursor();
    for bad in [
        Cursor {
            epoch: 0,
            shard: 6,
            window: 0,
            sample: 0,
        },
        Cursor {
            epoch: 0,
            shard: 0,
            window: 0,
            sample: 100_000,
        },
    ] {
        assert!(matches!(stream.seek(bad), Err(DataError::Cursor { .. })));
        assert_eq!(stream.cursor(), before);
    }
    assert!(
        serde_json::from_str::<Cursor>(r#"{"epoch": 0, "shard": 0, "sample": 0, "rank": 1}"#)
            .is_err()
    );
    assert!(stream.for_rank(2, 2).is_err());
    // As it was before there were windows.
    let before = serde_json::from_str::<Cursor>(r#"{"epoch": 1, "shard": 2, "sample": 3}"#);
    let cursor = Cursor {
        epoch: 1,
        shard: 2,
        window: 0,
        sample: 3,
    };
    assert_eq!(before.unwrap(), cursor);
}

#[test]
fn batches_have_shifted_targets_and_segments_of_documents() {
    let eod = corpus().train.eod() as i32;
    let batch = stream(5).next_batch(20).unwrap();
    assert_eq!(
        (batch.batch, batch.time, batch.tokens.len()),
        (20, T, 20 * T)
    );
    let mut ends = 0;
    for (tokens, targets, segments) in rows(&batch) {
        assert_eq!(tokens[1..], targets[..T - 1]);
        assert_eq!(segments[0], 0);
        for t in 1..T {
            assert_eq!(segments[t] - segments[t - 1], i32::from(tokens[t] == eod));
        }
        ends += segments[T - 1];
    }
    assert!(ends > 0);
}

#[test]
fn sequential_batches_end_with_the_limit() {
    let store = &corpus().validation;
    let sizes = |limit| -> Vec<usize> {
        store
            .batches(T, 4, limit)
            .unwrap()
            .map(|b| b.unwrap().batch)
            .collect()
    };
    assert_eq!(sizes(Some(10)), [4, 4, 2]);
    assert_eq!(sizes(Some(0)), [0; 0]);
    assert_eq!(sizes(None).iter().sum::<usize>() as u64, store.samples(T));
    let again: Vec<_> = store
        .batches(T, 4, None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let first: Vec<_> = store
        .batches(T, 4, None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(again, first);
}

#[test]
fn too_little_text_is_an_error_with_numbers() {
    let store = &corpus().validation;
    let context = store.tokens() as usize;
    assert_eq!(store.samples(context), 0);
    assert_eq!(store.samples(context - 1), 1);
    for error in [
        store.batches(context, 1, None).err().unwrap(),
        Stream::new(store.clone(), context, 0).unwrap_err(),
        store.dataset(context).unwrap_err(),
    ] {
        let message = error.to_string();
        assert!(
            message.contains(&format!("has {context} tokens")),
            "{message}"
        );
        assert!(
            message.contains(&format!("needs {} tokens", context + 1)),
            "{message}"
        );
    }
    assert!(matches!(
        Stream::new(store.clone(), 0, 0),
        Err(DataError::Config { .. })
    ));
}

#[test]
fn the_store_is_a_burn_dataset() {
    let store = &corpus().train;
    let dataset = store.dataset(T).unwrap();
    assert_eq!(dataset.len() as u64, store.samples(T));
    let mut batch = Batch::new(T);
    for item in dataset.iter() {
        batch.push(&item.unwrap(), store.boundaries());
    }
    let whole = store
        .batches(T, dataset.len(), None)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(batch, whole);
}

#[test]
fn ngram_models_are_distributions() {
    let store = &corpus().train;
    // Larger than the tokenizer's: the rest of a padded embedding has a share too.
    let vocab = store.vocab_size() as u32 + 5;
    for limit in [None, Some(100), Some(0)] {
        let models = Baselines::fit(store, vocab as usize, limit).unwrap();
        let sum: f64 = (0..vocab).map(|b| models.unigram(b)).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        for a in 0..vocab {
            let sum: f64 = (0..vocab).map(|b| models.bigram(a, b)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{a}: {sum}");
        }
        assert!(models.unigram(vocab) <= 0.0);
        assert!(models.bigram(0, vocab) <= 0.0);
    }
    assert!(Baselines::fit(store, 10, None).is_err());
}

#[test]
fn ngram_counts_are_those_of_a_plain_count() {
    let store = &corpus().train;
    let v = store.vocab_size();
    let mut unigrams = vec![0u64; v];
    let mut bigrams = vec![vec![0u64; v]; v];
    for shard in 0..store.windows() {
        let name = &corpus().manifest.shards[shard].name;
        let bin = std::fs::read(corpus().folder.join(format!("{name}.bin"))).unwrap();
        let ids: Vec<usize> = bin
            .chunks(2)
            .map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])))
            .collect();
        for id in &ids {
            unigrams[*id] += 1;
        }
        for w in ids.windows(2) {
            bigrams[w[0]][w[1]] += 1;
        }
    }
    let models = Baselines::fit(store, v, None).unwrap();
    let total: u64 = unigrams.iter().sum();
    for (a, counts) in bigrams.iter().enumerate() {
        let followed: u64 = counts.iter().sum();
        let distinct = counts.iter().filter(|c| **c > 0).count() as f64;
        for b in 0..v {
            let unigram = (unigrams[b] + 1) as f64 / (total + v as u64) as f64;
            let want = if followed == 0 {
                unigram
            } else {
                (counts[b] as f64 + distinct * unigram) / (followed as f64 + distinct)
            };
            assert!((models.bigram(a as u32, b as u32) - want).abs() < 1e-15);
        }
    }
}

#[test]
fn baselines_score_the_same_targets_as_a_model() {
    let corpus = corpus();
    let models = Baselines::fit(&corpus.train, corpus.train.vocab_size(), None).unwrap();
    let batches = || corpus.validation.batches(T, 4, Some(10)).unwrap();
    let scores = models.score_all(batches()).unwrap();
    let mut model = Score::default();
    for batch in batches() {
        let batch = batch.unwrap();
        // A model that is uniform over the vocabulary.
        let nats = batch.scored() as f64 * (corpus.train.vocab_size() as f64).ln();
        model += Score::of_batch(nats, &batch);
    }
    for score in [scores.unigram, scores.bigram] {
        assert_eq!((score.targets, score.bytes), (model.targets, model.bytes));
    }
    assert_eq!(model.targets, 10 * T as u64);
    assert!(scores.bigram.nats < scores.unigram.nats && scores.unigram.nats < model.nats);
    let ratio = model.bits_per_byte().unwrap() / model.nats_per_token();
    let want = model.targets as f64 / model.bytes.unwrap() as f64 / std::f64::consts::LN_2;
    assert!((ratio - want).abs() < 1e-12);

    // Ignored targets are scored by nobody.
    let mut batch = batches().next().unwrap().unwrap();
    let all = models.score(&batch).unigram;
    batch.targets[3] = -1;
    let fewer = models.score(&batch).unigram;
    assert_eq!(fewer.targets, all.targets - 1);
    assert!(fewer.nats < all.nats);
}

#[test]
fn scored_bytes_are_the_decoded_bytes_of_the_targets() {
    let corpus = corpus();
    let eod = corpus.tokenizer.eod() as i32;
    let store = &corpus.validation;
    for batch in store.batches(T, 1, None).unwrap() {
        let batch = batch.unwrap();
        let ids = batch.targets.iter().filter(|t| **t != eod);
        let ids: Vec<u32> = ids.map(|t| *t as u32).collect();
        // The characters of the text are ASCII or whole tokens.
        let text = corpus.tokenizer.decode(&ids).unwrap();
        assert_eq!(batch.bytes, Some(text.len() as u64));
        assert_eq!(Score::of_batch(0.0, &batch).bytes, batch.bytes);
    }
    // The targets of a whole shard are its text, but for its first token.
    let longest = store.tokens() as usize - 1;
    let batch = store.batches(longest, 1, None).unwrap().next().unwrap();
    let batch = batch.unwrap();
    let first = corpus.tokenizer.decode(&[batch.tokens[0] as u32]).unwrap();
    let scored = store.text_bytes() - first.len() as u64;
    assert_eq!((store.windows(), batch.bytes), (1, Some(scored)));
    let names: HashSet<_> = corpus.manifest.shards.iter().map(|s| &s.name).collect();
    assert_eq!(names.len(), corpus.manifest.shards.len());
}
