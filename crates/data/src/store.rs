//! The packed windows of one split, cut into samples on the fly (`window` says how).

use std::path::Path;
use std::sync::Arc;

use crate::batch::{Batch, Boundaries, Sample, SampleDataset};
use crate::manifest::Manifest;
use crate::split::Split;
use crate::token_file::{TokenFile, TokenFolder};
use crate::window::{MemoryText, PackedText, Place, Window, Windows, sample, samples_in};
use crate::{DataError, Tokenizer};

/// The windows of a split that have text of it, in the order of the listing. Cheap to clone; clones share their open files.
///
/// Samples are read from the files when asked for, through the operating system's cache.
#[derive(Debug, Clone)]
pub struct PackedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    split: Split,
    boundaries: Boundaries,
    vocab_size: usize,
    pieces: Vec<Piece>,
    /// Windows of each shard, those without text of the split included.
    windows: Vec<usize>,
    /// What a window without text of the split holds.
    nothing: Arc<MemoryText>,
}

/// The text of a window that belongs to the split.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) shard: usize,
    pub(crate) window: usize,
    /// Documents that have tokens in it.
    pub(crate) documents: u64,
    /// UTF-8 bytes of their text.
    pub(crate) text_bytes: u64,
    pub(crate) text: Arc<dyn PackedText>,
}

impl Piece {
    /// A window's file, or a part of it.
    ///
    /// # Errors
    /// [`DataError::Damaged`] if the index of a file that is parted can't be read.
    pub(crate) fn of_file(shard: usize, window: usize, file: TokenFile) -> Result<Self, DataError> {
        Ok(Self {
            shard,
            window,
            documents: file.documents()?,
            text_bytes: file.text_bytes(),
            text: Arc::new(file),
        })
    }
}

impl PackedStore {
    /// Opens a split of the cache folder that `manifest` describes, and checks that its files are
    /// there with the sizes that follow from the manifest's counts. `tokenizer` made the tokens.
    ///
    /// # Errors
    /// [`DataError::Damaged`] names the first file that is missing or has another size.
    pub fn open(
        folder: &Path,
        manifest: &Manifest,
        split: Split,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DataError> {
        let folder = Arc::new(TokenFolder::new(folder, manifest, tokenizer));
        let pieces = manifest.placed(split).map(|(shard, record)| {
            Piece::of_file(shard, record.window, TokenFile::open(&folder, record)?)
        });
        let pieces = pieces.collect::<Result<_, _>>()?;
        Ok(Self::new(split, tokenizer, pieces, manifest.windows(split)))
    }

    /// The windows of a split in the order of the listing, in the tokens of `tokenizer`; `windows` counts those of each shard.
    pub(crate) fn new(
        split: Split,
        tokenizer: &Tokenizer,
        pieces: Vec<Piece>,
        windows: Vec<usize>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                split,
                boundaries: tokenizer.boundaries(),
                vocab_size: tokenizer.vocab_size(),
                pieces,
                windows,
                nothing: Arc::new(MemoryText::new(tokenizer)),
            }),
        }
    }

    /// Reads every file and compares it with the hashes and counts of the manifest.
    ///
    /// # Errors
    /// [`DataError::Damaged`] names the first file that differs.
    pub fn verify(&self) -> Result<(), DataError> {
        self.inner
            .pieces
            .iter()
            .try_for_each(|piece| piece.text.verify())
    }

    /// Which split this is.
    pub fn split(&self) -> Split {
        self.inner.split
    }

    /// The token that ends every document.
    pub fn eod(&self) -> u32 {
        self.inner.boundaries.eod
    }

    /// The tokens between which a document lies.
    pub fn boundaries(&self) -> Boundaries {
        self.inner.boundaries
    }

    /// Ids are below this.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size
    }

    /// Number of windows that have text of the split.
    pub fn windows(&self) -> usize {
        self.inner.pieces.len()
    }

    /// Tokens of all windows, end-of-document tokens included.
    pub fn tokens(&self) -> u64 {
        self.texts().map(|text| text.tokens()).sum()
    }

    /// Documents of all windows; one that is parted between the splits counts in both.
    pub fn documents(&self) -> u64 {
        self.inner.pieces.iter().map(|piece| piece.documents).sum()
    }

    /// UTF-8 bytes of the documents' text; where the splits share a file, its share by tokens.
    pub fn text_bytes(&self) -> u64 {
        self.inner.pieces.iter().map(|piece| piece.text_bytes).sum()
    }

    /// The text of each window, in the order of the listing.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Arc<dyn PackedText>> {
        self.inner.pieces.iter().map(|piece| &piece.text)
    }

    /// Samples of one window with context `T`. At most 2^32 - 1: the rest of a larger window, which
    /// no permutation of 32-bit numbers reaches, is left out.
    pub fn samples_in(&self, window: usize, context: usize) -> u64 {
        let piece = self.inner.pieces.get(window);
        piece.map_or(0, |piece| samples_in(piece.text.tokens(), context))
    }

    /// Samples of all windows with context `T`: the length of an epoch.
    pub fn samples(&self, context: usize) -> u64 {
        self.texts()
            .map(|text| samples_in(text.tokens(), context))
            .sum()
    }

    /// Checks that there is at least one sample of context `T`.
    ///
    /// # Errors
    /// [`DataError::TooFewTokens`] says how many tokens there are and how many one sample needs;
    /// [`DataError::Config`] if the context is 0 or the split has no document at all.
    pub fn require(&self, context: usize) -> Result<(), DataError> {
        if context == 0 {
            return Err(DataError::config(
                "model.context",
                "is 0, must be at least 1",
            ));
        }
        if self.windows() == 0 {
            return Err(match self.inner.split {
                Split::Train => DataError::config("data.path", "holds no training document"),
                Split::Validation => DataError::config(
                    "data.validation_path",
                    "is needed: there is no validation text, as the files for it hold none or \
                     data.validation_fraction is 0",
                ),
            });
        }
        if self.samples(context) == 0 {
            return Err(DataError::TooFewTokens {
                advice: match self.inner.split {
                    Split::Train => "give more text",
                    Split::Validation => {
                        "raise data.validation_fraction, or give text with data.validation_path"
                    }
                },
                split: self.inner.split.name(),
                tokens: self.tokens(),
                windows: self.windows(),
                longest: self.texts().map(|text| text.tokens()).max().unwrap_or(0),
                context,
            });
        }
        Ok(())
    }

    /// Sample `index` of a window with context `T`: `T + 1` tokens from token `index * T` on.
    ///
    /// # Errors
    /// [`DataError::Damaged`] if the file is shorter than it was or holds an id outside the
    /// vocabulary; [`DataError::Cursor`] if there is no such sample.
    pub fn sample(&self, window: usize, index: u64, context: usize) -> Result<Sample, DataError> {
        let samples = self.samples_in(window, context);
        match self.inner.pieces.get(window) {
            Some(piece) if index < samples => sample(&*piece.text, index, context),
            piece => Err(DataError::Cursor {
                epoch: 0,
                shard: piece.map_or(0, |piece| piece.shard),
                window: piece.map_or(window, |piece| piece.window),
                sample: index,
                message: format!("the window has {samples} samples of context {context}"),
            }),
        }
    }

    /// The samples in stored order, in batches of `batch`; the last may be smaller. At most `limit`
    /// samples, if given. For evaluation: every call scores the same positions.
    ///
    /// # Errors
    /// As [`PackedStore::require`]; reading errors come from the iterator.
    pub fn batches(
        &self,
        context: usize,
        batch: usize,
        limit: Option<u64>,
    ) -> Result<impl Iterator<Item = Result<Batch, DataError>> + Send + use<>, DataError> {
        self.require(context)?;
        let store = self.clone();
        let samples = (0..self.windows()).flat_map({
            let store = self.clone();
            move |window| (0..store.samples_in(window, context)).map(move |index| (window, index))
        });
        let mut samples = samples
            .take(limit.map_or(usize::MAX, |l| l as usize))
            .peekable();
        Ok(std::iter::from_fn(move || {
            samples.peek()?;
            let mut out = Batch::new(context);
            for (window, index) in samples.by_ref().take(batch.max(1)) {
                match store.sample(window, index, context) {
                    Ok(sample) => out.push(&sample, store.boundaries()),
                    Err(e) => return Some(Err(e)),
                }
            }
            Some(Ok(out))
        }))
    }

    /// This store as a Burn dataset of samples with context `T`.
    ///
    /// # Errors
    /// As [`PackedStore::require`].
    pub fn dataset(&self, context: usize) -> Result<SampleDataset, DataError> {
        SampleDataset::new(self.clone(), context)
    }
}

impl Windows for PackedStore {
    fn shards(&self) -> usize {
        self.inner.windows.len()
    }

    fn boundaries(&self) -> Boundaries {
        self.inner.boundaries
    }

    fn window(&mut self, place: Place, shard: usize) -> Result<Option<Window>, DataError> {
        let Inner {
            pieces,
            windows,
            nothing,
            ..
        } = &*self.inner;
        let last = windows.get(shard).and_then(|count| count.checked_sub(1));
        let Some(last) = last.filter(|last| place.window <= *last) else {
            return Ok(None);
        };
        let wanted = (shard, place.window);
        let found = pieces.binary_search_by_key(&wanted, |piece| (piece.shard, piece.window));
        let text: Arc<dyn PackedText> = match found {
            Ok(at) => Arc::clone(&pieces[at].text),
            Err(_) => Arc::clone(nothing) as _,
        };
        Ok(Some(Window {
            text,
            is_last: place.window == last,
        }))
    }
}
