//! Samples of several streams, each drawn from one of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Weight;
use super::draw::Draws;
use crate::stream::check_rank;
use crate::{Batch, Cursor, DataError, NetworkTraffic, Stream};

/// A source of a [`Mixture`].
#[derive(Debug)]
pub struct MixtureSource {
    /// Its name.
    pub name: String,
    /// How often it is drawn from, compared with the others.
    pub weight: Weight,
    /// Its samples.
    pub stream: Stream,
}

/// Where a source of a mixture stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePosition {
    /// Samples drawn from it, over all epochs.
    pub samples: u64,
    /// The next one.
    pub cursor: Cursor,
}

/// Where a mixture stands: the sources by name. The number of its next sample is how many have been drawn from all of them.
///
/// It belongs to no rank, as a [`Cursor`] doesn't.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixturePosition {
    /// Each source.
    pub sources: BTreeMap<String, SourcePosition>,
}

/// Batches of samples without end, each sample from a source that is drawn by the weights.
///
/// Sample number `n` of all ranks together comes from the source [`draw`](super::draw)`(seed, n, w)`, where `w` are the weights after
/// `n * T` tokens, and is the next one of that source's stream, which has an order, a cursor and epochs of its own. A mixture
/// of one source is its stream. Ranks divide the sequence as those of a [`Stream`] do.
///
/// ```
/// # use evenburn_data::{DataConfig, Mixture, MixtureSource, Stream, Weight, prepare};
/// # let dir = tempfile::tempdir().unwrap();
/// # let corpus = |name: &str, words: &str| {
/// #     let text = dir.path().join(name);
/// #     std::fs::write(&text, words.repeat(50)).unwrap();
/// #     let config = DataConfig { path: text.to_str().unwrap().into(), validation_fraction: 0.0,
/// #         tokenizer_vocab: 260, ..Default::default() };
/// #     prepare(&config, &dir.path().join("cache"), &()).unwrap()
/// # };
/// # let (web, code) = (corpus("a.txt", "some words of text "), corpus("b.txt", "fn f() {} "));
/// let source = |name: &str, corpus: &evenburn_data::Corpus, weight| MixtureSource {
///     name: name.into(),
///     weight: Weight::Constant(weight),
///     stream: Stream::new(corpus.train.clone(), 16, 42).unwrap(),
/// };
/// let open = || Mixture::new(vec![source("web", &web, 3.0), source("code", &code, 1.0)], 16, 42);
/// let mut mixture = open();
/// mixture.next_batch(256).unwrap();
/// let position = mixture.position();
/// assert!(position.sources["web"].samples.abs_diff(192) <= 2);
///
/// let mut resumed = open();
/// resumed.seek(&position).unwrap();
/// assert_eq!(resumed.next_batch(8).unwrap(), mixture.next_batch(8).unwrap());
/// ```
#[derive(Debug)]
pub struct Mixture {
    sources: Vec<Source>,
    draws: Draws,
    context: usize,
    rank: usize,
    world: usize,
}

#[derive(Debug)]
struct Source {
    name: String,
    weight: Weight,
    stream: Stream,
    /// Samples drawn from it.
    samples: u64,
}

impl Source {
    fn position(&self) -> SourcePosition {
        SourcePosition {
            samples: self.samples,
            cursor: self.stream.cursor(),
        }
    }

    fn seek(&mut self, position: SourcePosition) -> Result<(), DataError> {
        self.stream.seek(position.cursor)?;
        self.samples = position.samples;
        Ok(())
    }
}

impl Mixture {
    /// A mixture at its first sample. The streams, of context `T`, are whole ones at their beginnings, the names different,
    /// and at every time a weight is above 0.
    pub fn new(sources: Vec<MixtureSource>, context: usize, seed: u64) -> Self {
        let source = |source: MixtureSource| Source {
            name: source.name,
            weight: source.weight,
            stream: source.stream,
            samples: 0,
        };
        Self {
            sources: sources.into_iter().map(source).collect(),
            draws: Draws::new(seed),
            context,
            rank: 0,
            world: 1,
        }
    }

    /// This mixture's part for one of `world` ranks.
    ///
    /// # Errors
    /// [`DataError::Config`] if `rank` isn't below `world`.
    pub fn for_rank(mut self, rank: usize, world: usize) -> Result<Self, DataError> {
        check_rank(rank, world)?;
        self.rank = rank;
        self.world = world;
        Ok(self)
    }

    /// Where the ranks together stand.
    pub fn position(&self) -> MixturePosition {
        let sources = self.sources.iter();
        MixturePosition {
            sources: sources
                .map(|source| (source.name.clone(), source.position()))
                .collect(),
        }
    }

    /// Goes on from a position, taken with the same sources, context and seed on any number of ranks.
    ///
    /// # Errors
    /// [`DataError::Config`] for a position of other sources, [`DataError::Cursor`] for one outside of their data.
    pub fn seek(&mut self, position: &MixturePosition) -> Result<(), DataError> {
        if !self.position().sources.keys().eq(position.sources.keys()) {
            let names = |position: &MixturePosition| {
                let names: Vec<_> = position.sources.keys().map(String::as_str).collect();
                names.join(", ")
            };
            let why = format!(
                "are {}, and the run has {}",
                names(&self.position()),
                names(position)
            );
            return Err(DataError::config("data.sources", why));
        }
        let before = self.position();
        let moved = self.move_to(position);
        if moved.is_err() {
            self.move_to(&before)?;
        }
        moved
    }

    fn move_to(&mut self, position: &MixturePosition) -> Result<(), DataError> {
        let mut sources = self.sources.iter_mut();
        sources.try_for_each(|source| source.seek(position.sources[&source.name]))
    }

    /// What went over the network for all of them, where something can.
    pub fn traffic(&self) -> Option<NetworkTraffic> {
        let of_sources = self.sources.iter().filter_map(|s| s.stream.traffic());
        of_sources.reduce(|a, b| NetworkTraffic {
            bytes: a.bytes + b.bytes,
            retries: a.retries + b.retries,
        })
    }

    /// What the user should know of each source since the last call.
    pub(crate) fn news(&mut self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let sources = self.sources.iter_mut();
        sources.map(|source| (source.name.as_str(), source.stream.news()))
    }

    /// The next `n` samples of this rank.
    ///
    /// # Errors
    /// As [`Stream::next_batch`]; the position then stays where it was.
    pub fn next_batch(&mut self, n: usize) -> Result<Batch, DataError> {
        let before = self.position();
        let batch = self.read_batch(n);
        if batch.is_err() {
            self.move_to(&before)?;
        }
        batch
    }

    fn read_batch(&mut self, n: usize) -> Result<Batch, DataError> {
        let mut batch = Batch::new(self.context);
        let first: u64 = self.sources.iter().map(|source| source.samples).sum();
        for (number, position) in (first..).zip(0..n * self.world) {
            let tokens = number.saturating_mul(self.context as u64);
            let weights = self.sources.iter().map(|source| source.weight.at(tokens));
            let drawn = self.draws.source(number, &weights.collect::<Vec<_>>());
            let source = &mut self.sources[drawn];
            if position % self.world == self.rank {
                batch.append(source.stream.next_batch(1)?);
            } else {
                source.stream.skip(1)?;
            }
            source.samples += 1;
        }
        Ok(batch)
    }
}
