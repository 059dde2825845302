//! Text that is all tokenized.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::layout::{LeftOut, SourceRole};
use crate::manifest::Manifest;
use crate::split::Split;
use crate::store::{PackedStore, Piece};
use crate::token_file::{TokenFile, TokenFolder};
use crate::window::PackedText as _;
use crate::{DataError, Pins, Tokenizer};

/// Tokenized text, ready to be read.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// What made the tokens.
    pub tokenizer: Tokenizer,
    /// What the model learns from.
    pub train: PackedStore,
    /// What it is evaluated on.
    pub validation: PackedStore,
    /// What both were made from.
    pub manifest: Manifest,
    /// Names of files that were found and not read, by reason.
    pub left_out: BTreeMap<LeftOut, Vec<String>>,
    /// What should be known of the listing, in sentences.
    pub notes: Vec<String>,
    /// The commits at which repositories were read.
    pub pins: Pins,
    /// The cache folder that holds them.
    pub folder: PathBuf,
}

impl Corpus {
    /// The store of a split.
    pub fn store(&self, split: Split) -> &PackedStore {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }

    /// The corpus with the end of its text held out for validation, where no document fell into it, or a single one that fell
    /// there by its hash: at least `fraction` of the tokens and at least `tokens` (one evaluation batch), but at most a tenth. A corpus with validation text, or
    /// with files for it, stays as it is; so does one of which nothing is to be held out (`fraction` 0).
    ///
    /// # Errors
    /// [`DataError::Damaged`] if the index of a token file can't be read.
    ///
    /// ```
    /// use evenburn_data::{DataConfig, prepare};
    /// let dir = tempfile::tempdir().unwrap();
    /// let text = dir.path().join("input.txt");
    /// std::fs::write(&text, "one long text, ".repeat(200)).unwrap();
    /// let config = DataConfig { path: text.to_str().unwrap().into(), tokenizer_vocab: 257, ..Default::default() };
    /// let corpus = prepare(&config, &dir.path().join("cache"), &()).unwrap();
    /// assert_eq!((corpus.train.tokens(), corpus.validation.tokens()), (3001, 0));
    /// let corpus = corpus.hold_out(config.validation_fraction, 65).unwrap();
    /// assert_eq!((corpus.train.tokens(), corpus.validation.tokens()), (2936, 65));
    /// ```
    pub fn hold_out(self, fraction: f64, tokens: u64) -> Result<Self, DataError> {
        let by_document = self
            .manifest
            .sources
            .iter()
            .all(|s| s.role == SourceRole::Mixed);
        let is_split = self.train.tokens() > 0 && self.validation.tokens() > 0;
        // What its own field holds out stays so, and so do many texts that were meant to be evaluated.
        let by_field = self
            .manifest
            .sources
            .iter()
            .any(|s| s.documents.by_field > 0);
        let is_held = self.train.tokens() == 0 && (by_field || self.validation.documents() > 1);
        if !by_document || fraction == 0.0 || is_split || is_held {
            return Ok(self);
        }
        // A single text falls into either split by its hash.
        let text = if self.train.tokens() > 0 {
            &self.train
        } else {
            &self.validation
        };
        let total = text.tokens();
        let share = (fraction * total as f64).ceil() as u64;
        let held = share.max(tokens).min(total / 10);
        let (train, validation) = self.parted(text.split(), held)?;
        Ok(Self {
            train,
            validation,
            ..self
        })
    }

    /// The text of a split without its last `tokens` tokens, for training, and those for validation.
    fn parted(&self, split: Split, tokens: u64) -> Result<(PackedStore, PackedStore), DataError> {
        let Self {
            manifest,
            tokenizer,
            ..
        } = self;
        let folder = Arc::new(TokenFolder::new(&self.folder, manifest, tokenizer));
        let (mut kept, mut held) = (Vec::new(), Vec::new());
        for (shard, record) in manifest.placed(split) {
            kept.push((shard, record.window, TokenFile::open(&folder, record)?));
        }
        let mut left = tokens;
        while left > 0
            && let Some((shard, window, file)) = kept.pop()
        {
            let there = file.tokens();
            if there > left {
                kept.push((shard, window, file.part(0..there - left)));
            }
            let start = there.saturating_sub(left);
            held.push((shard, window, file.part(start..there)));
            left = left.saturating_sub(there);
        }
        held.reverse();
        let mut windows = manifest.windows(split);
        // What was held out to its end is no shard or window for training.
        let (shards, last) = kept.last().map_or((0, 0), |(s, w, _)| (s + 1, w + 1));
        let held_windows = windows.clone();
        windows.truncate(shards);
        if let Some(count) = windows.last_mut() {
            *count = last;
        }
        let store =
            |split, files: Vec<(usize, usize, TokenFile)>, windows| -> Result<_, DataError> {
                let pieces = files.into_iter();
                let pieces =
                    pieces.map(|(shard, window, file)| Piece::of_file(shard, window, file));
                let pieces = pieces.collect::<Result<_, _>>()?;
                Ok(PackedStore::new(split, tokenizer, pieces, windows))
            };
        Ok((
            store(Split::Train, kept, windows)?,
            store(Split::Validation, held, held_windows)?,
        ))
    }
}
