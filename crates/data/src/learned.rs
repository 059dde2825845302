//! The tokenizer that `tokenizer = "train"` stands for: learned from a part of the training split, and kept in the cache.

use std::ops::ControlFlow;
use std::path::Path;

use evenburn_locations::Storage;

use crate::layout::{PlacedSource, find_sources};
use crate::placing::{Placing, Tally};
use crate::shard_text::{Access, InPlace};
use crate::split::Split;
use crate::{DataConfig, DataError, Documents, Phase, Progress, ProgressState, Tokenizer, files};

/// A tokenizer is trained on at most this much text…
const TRAINING_BYTES: u64 = 64 << 20;
/// …taken in equal shares from at most this many sources, evenly spaced.
const TRAINING_SOURCES: usize = 64;

/// Which part of the sources a tokenizer is learned from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// Equal shares of sources all over the list.
    Spread,
    /// The first ones in the order of the listing: no others have to be fetched.
    First,
}

/// A text that a tokenizer is learned from, and how much of it.
pub(crate) struct Share<'a, A> {
    pub(crate) config: &'a DataConfig,
    pub(crate) sources: &'a [PlacedSource],
    pub(crate) part: Part,
    pub(crate) access: &'a A,
    /// As a part of what a tokenizer is trained on, at most 1.
    pub(crate) part_of_all: f64,
}

/// The tokenizer of a name in the cache, which is trained where it isn't there.
pub(crate) fn learned(
    config: &DataConfig,
    name: &str,
    cache: &Path,
    train: impl FnOnce() -> Result<Tokenizer, DataError>,
) -> Result<Tokenizer, DataError> {
    let path = cache.join(format!("tokenizer-{name}.json"));
    if path.exists() {
        return Tokenizer::from_file(&path, &config.eod_token);
    }
    let _lock = files::lock(cache)?;
    if path.exists() {
        return Tokenizer::from_file(&path, &config.eod_token);
    }
    let tokenizer = train()?;
    tokenizer.save(&path)?;
    Ok(tokenizer)
}

/// Trains the tokenizer that `tokenizer = "train"` stands for, on the configured training split.
///
/// # Errors
/// Any [`DataError`] of the configuration or the sources.
pub fn train_tokenizer(
    config: &DataConfig,
    storage: &Storage,
    progress: &dyn Progress,
) -> Result<Tokenizer, DataError> {
    let sources = find_sources(config, storage)?.sources;
    let all = Share {
        config,
        sources: &sources,
        part: Part::Spread,
        access: &InPlace,
        part_of_all: 1.0,
    };
    train_on(config, [all], progress)
}

/// Trains a tokenizer on the training splits of some texts.
pub(crate) fn train_on<'a, A: Access + 'a>(
    config: &DataConfig,
    shares: impl IntoIterator<Item = Share<'a, A>>,
    progress: &'a dyn Progress,
) -> Result<Tokenizer, DataError> {
    let shares = shares.into_iter();
    let texts: Vec<_> = shares
        .map(|share| TrainingTexts::new(&share, progress))
        .collect();
    Tokenizer::train_reporting(
        texts.into_iter().flatten(),
        config.tokenizer_vocab,
        &config.eod_token,
        progress,
    )
}

/// The training split's documents up to a number of bytes; what a source doesn't use of its share goes to those after it.
struct TrainingTexts<'a, A: Access> {
    sources: std::vec::IntoIter<&'a PlacedSource>,
    part: Part,
    access: &'a A,
    current: Option<(Documents, &'a PlacedSource, A::Hold)>,
    left_here: u64,
    left: u64,
    total: u64,
    config: &'a DataConfig,
    progress: &'a dyn Progress,
    documents: u64,
}

impl<'a, A: Access> TrainingTexts<'a, A> {
    fn new(share: &Share<'a, A>, progress: &'a dyn Progress) -> Self {
        let eligible = share.sources.iter().filter(|s| s.role.has(Split::Train));
        let mut chosen: Vec<_> = eligible.collect();
        if let Part::Spread = share.part {
            let count = chosen.len().min(TRAINING_SOURCES);
            let spread = (0..count).map(|i| chosen[i * chosen.len() / count]);
            chosen = spread.collect();
        }
        let total = (TRAINING_BYTES as f64 * share.part_of_all) as u64;
        Self {
            sources: chosen.into_iter(),
            part: share.part,
            access: share.access,
            current: None,
            left_here: 0,
            left: total,
            total,
            config: share.config,
            progress,
            documents: 0,
        }
    }

    fn next_text(&mut self) -> Result<Option<String>, DataError> {
        loop {
            if self.left_here == 0 {
                self.current = None;
            }
            let Some((documents, placed, _)) = &mut self.current else {
                let sources = self.sources.len() as u64;
                let Some(placed) = self.sources.next() else {
                    return Ok(None);
                };
                if self.left == 0 {
                    return Ok(None);
                }
                self.left_here = match self.part {
                    Part::Spread => self.left.div_ceil(sources),
                    Part::First => self.left,
                };
                let hold = self.access.hold(placed)?;
                if let Ok(documents) = placed.documents(self.config)? {
                    self.current = Some((documents, placed, hold));
                } else {
                    self.left_here = 0;
                }
                continue;
            };
            let Some(document) = documents.next().transpose()? else {
                self.left_here = 0;
                continue;
            };
            let placing = Placing::new(placed.role, self.config.validation_fraction);
            if placing.split(&document, &mut Tally::default()) != Some(Split::Train) {
                continue;
            }
            let name = placed.source.name().to_owned();
            let bytes = document.text.len() as u64;
            self.left_here = self.left_here.saturating_sub(bytes);
            self.left = self.left.saturating_sub(bytes);
            self.documents += 1;
            self.report(name, bytes)?;
            return Ok(Some(document.text));
        }
    }

    /// Says how far it is: every so often, and after a document that took its time.
    fn report(&self, source: String, bytes: u64) -> Result<(), DataError> {
        if !self.documents.is_multiple_of(256) && bytes < 1 << 20 {
            return Ok(());
        }
        let state = ProgressState {
            phase: Phase::TrainingTokenizer,
            source,
            bytes_done: self.total - self.left,
            bytes_total: self.total,
            documents: self.documents,
            tokens: 0,
        };
        match self.progress.report(&state) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DataError::Interrupted),
        }
    }
}

impl<A: Access> Iterator for TrainingTexts<'_, A> {
    type Item = Result<String, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_text().transpose()
    }
}
