//! N-gram models of the same tokens: what a loss has to beat.
//!
//! With `N` tokens counted over a vocabulary of `V`, `c(·)` the counts and `d(a)` the number of
//! distinct tokens seen after `a`:
//!
//! - unigram, add-one: `p(b) = (c(b) + 1) / (N + V)`;
//! - bigram, interpolated with it after Witten and Bell (1991):
//!   `p(b | a) = (c(a b) + d(a) p(b)) / (c(a ·) + d(a))`, and `p(b)` where `a` was never followed.
//!
//! Witten-Bell rather than one Jelinek-Mercer weight: it trusts each context as far as its own
//! counts go, which is the stronger baseline, and it has no weight to choose on held-out data.
//! Both are distributions over all of `V`, so no target has an infinite loss.

use std::sync::Arc;

use rayon::prelude::*;

use crate::window::PackedText;
use crate::{Batch, DataError, PackedStore, Score};

/// Tokens counted at a time; their pairs are sorted, then merged into those before.
const CHUNK: u64 = 4 << 20;

/// A unigram and an interpolated bigram model with the same counts.
#[derive(Debug, Clone)]
pub struct Baselines {
    /// `c(b)`.
    unigrams: Vec<u64>,
    /// `N`.
    total: u64,
    /// For each `a` where its pairs begin, and the end of the last.
    starts: Vec<usize>,
    /// `b` of each pair `a b`, ordered by `a`, then `b`.
    followers: Vec<u32>,
    /// `c(a b)` of each pair.
    counts: Vec<u32>,
    /// `c(a ·)`.
    followed: Vec<u64>,
}

/// Scores of the two models over the same positions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BaselineScores {
    /// The unigram model's.
    pub unigram: Score,
    /// The interpolated bigram model's.
    pub bigram: Score,
}

impl Baselines {
    /// Counts the tokens of a store, at most the first `limit` if given, over a vocabulary of
    /// `vocab_size` (at least the store's).
    ///
    /// Pairs run across documents through the end-of-document token, as a model's inputs do, but
    /// not across windows.
    ///
    /// # Errors
    /// Reading the store fails, or `vocab_size` is smaller than the store's.
    pub fn fit(
        store: &PackedStore,
        vocab_size: usize,
        limit: Option<u64>,
    ) -> Result<Self, DataError> {
        if vocab_size < store.vocab_size() {
            return Err(DataError::Vocabulary {
                tokenizer: store.vocab_size(),
                model: vocab_size,
            });
        }
        let texts = store.texts().map(|text| Ok(Arc::clone(text)));
        Self::count(texts, vocab_size, limit)
    }

    /// Counts the tokens of windows, at most the first `limit` if given; ids are below `vocab_size`.
    pub(crate) fn count(
        texts: impl Iterator<Item = Result<Arc<dyn PackedText>, DataError>>,
        vocab_size: usize,
        limit: Option<u64>,
    ) -> Result<Self, DataError> {
        let mut unigrams = vec![0; vocab_size];
        let mut pairs: Vec<(u64, u32)> = Vec::new();
        let mut left = limit.unwrap_or(u64::MAX);
        for text in texts {
            let text = text?;
            let tokens = text.tokens().min(left);
            left -= tokens;
            let mut start = 0;
            let mut before: Option<u32> = None;
            while start < tokens {
                let count = CHUNK.min(tokens - start);
                let mut chunk: Vec<u32> = before.into_iter().collect();
                chunk.extend(text.read(start, count as usize)?);
                for &id in &chunk[usize::from(before.is_some())..] {
                    unigrams[id as usize] += 1;
                }
                before = chunk.last().copied();
                pairs = merge(pairs, count_pairs(&chunk));
                start += count;
            }
            if left == 0 {
                break;
            }
        }
        Ok(Self::index(unigrams, pairs))
    }

    fn index(unigrams: Vec<u64>, pairs: Vec<(u64, u32)>) -> Self {
        let mut starts = vec![0; unigrams.len() + 1];
        let mut followed = vec![0; unigrams.len()];
        for &(pair, count) in &pairs {
            let a = (pair >> 32) as usize;
            starts[a + 1] += 1;
            followed[a] += u64::from(count);
        }
        for a in 0..unigrams.len() {
            starts[a + 1] += starts[a];
        }
        Self {
            total: unigrams.iter().sum(),
            unigrams,
            starts,
            followers: pairs.iter().map(|(pair, _)| *pair as u32).collect(),
            counts: pairs.into_iter().map(|(_, count)| count).collect(),
            followed,
        }
    }

    /// Entries of the vocabulary, `V`.
    pub fn vocab_size(&self) -> usize {
        self.unigrams.len()
    }

    /// `p(next)` of the unigram model; 0 outside the vocabulary.
    pub fn unigram(&self, next: u32) -> f64 {
        let Some(count) = self.unigrams.get(next as usize) else {
            return 0.0;
        };
        (count + 1) as f64 / (self.total + self.unigrams.len() as u64) as f64
    }

    /// `p(next | previous)` of the interpolated bigram model; 0 for a `next` outside the vocabulary.
    pub fn bigram(&self, previous: u32, next: u32) -> f64 {
        let unigram = self.unigram(next);
        let a = previous as usize;
        if a >= self.followed.len() || self.followed[a] == 0 {
            return unigram;
        }
        let range = self.starts[a]..self.starts[a + 1];
        let distinct = range.len() as f64;
        let seen = match self.followers[range.clone()].binary_search(&next) {
            Ok(i) => f64::from(self.counts[range.start + i]),
            Err(_) => 0.0,
        };
        (seen + distinct * unigram) / (self.followed[a] as f64 + distinct)
    }

    /// Scores both models on exactly the targets that a model is scored on: the batch's targets
    /// that aren't ignored, each given the input at its position.
    pub fn score(&self, batch: &Batch) -> BaselineScores {
        let (mut unigram, mut bigram) = (0.0, 0.0);
        for (&previous, &next) in batch.tokens.iter().zip(&batch.targets) {
            if let Ok(next) = u32::try_from(next) {
                unigram -= self.unigram(next).ln();
                bigram -= self.bigram(previous as u32, next).ln();
            }
        }
        BaselineScores {
            unigram: Score::of_batch(unigram, batch),
            bigram: Score::of_batch(bigram, batch),
        }
    }

    /// Scores both models on a run of batches, such as [`PackedStore::batches`].
    ///
    /// # Errors
    /// The first error of the batches.
    pub fn score_all(
        &self,
        batches: impl IntoIterator<Item = Result<Batch, DataError>>,
    ) -> Result<BaselineScores, DataError> {
        let mut sum = BaselineScores::default();
        for batch in batches {
            let scores = self.score(&batch?);
            sum.unigram += scores.unigram;
            sum.bigram += scores.bigram;
        }
        Ok(sum)
    }
}

/// The distinct pairs of adjacent tokens, as `a << 32 | b`, with their counts, in order.
fn count_pairs(tokens: &[u32]) -> Vec<(u64, u32)> {
    let pair = |w: &[u32]| u64::from(w[0]) << 32 | u64::from(w[1]);
    let mut pairs: Vec<u64> = tokens.windows(2).map(pair).collect();
    pairs.par_sort_unstable();
    pairs
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len() as u32))
        .collect()
}

/// Adds two ordered lists of counts.
fn merge(a: Vec<(u64, u32)>, b: Vec<(u64, u32)>) -> Vec<(u64, u32)> {
    if a.is_empty() {
        return b;
    }
    let mut merged = Vec::with_capacity(a.len() + b.len() / 2);
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x.0 == y.0 => {
                let count = x.1.saturating_add(y.1);
                b.next();
                a.next().map(|(pair, _)| (pair, count))
            }
            (Some(x), Some(y)) if x.0 > y.0 => b.next(),
            (Some(_), _) => a.next(),
            (None, _) => b.next(),
        };
        match next {
            Some(entry) => merged.push(entry),
            None => return merged,
        }
    }
}
