//! The tokenized shards of one split, cut into samples on the fly.
//!
//! With context `T`, a shard of `n` tokens has `(n - 1) / T` samples (rounded down): sample `i` is
//! the tokens from `i T` to `(i + 1) T`, both included, so that every token but a shard's first is
//! predicted at most once. Documents follow each other, each ended by the end-of-document token;
//! no sample crosses a shard.

use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::batch::{Batch, Boundaries, Sample, SampleDataset};
use crate::manifest::{Manifest, ShardRecord};
use crate::megatron::{Index, TokenType, bin_path, idx_path, idx_size};
use crate::split::Split;
use crate::token_bytes::{self, bytes_path, bytes_size};
use crate::xxh3;
use crate::{DataError, Tokenizer, files};

/// Files kept open at once, well below the limits of operating systems.
const OPEN_FILES: usize = 64;

/// The shards of a split. Cheap to clone; clones share their open files.
///
/// Samples are read from the files when asked for, through the operating system's cache.
#[derive(Debug, Clone)]
pub struct PackedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    split: Split,
    token_type: TokenType,
    boundaries: Boundaries,
    vocab_size: usize,
    shards: Vec<Shard>,
    /// Bytes of text by id, for shards without a file of them.
    token_bytes: Option<Arc<[u32]>>,
    files: Mutex<HashMap<PathBuf, Arc<File>>>,
}

/// A token file, or a part of one: where text is held out by position, two splits share a file.
#[derive(Debug, Clone)]
struct Shard {
    file: ShardRecord,
    /// Its tokens in the file.
    tokens: Range<u64>,
    /// Documents that have tokens among them.
    documents: u64,
}

impl Shard {
    fn len(&self) -> u64 {
        self.tokens.end - self.tokens.start
    }

    fn is_whole(&self) -> bool {
        self.len() == self.file.tokens
    }

    /// Its share of the file's text, by tokens where it is a part.
    fn text_bytes(&self) -> u64 {
        if self.is_whole() {
            return self.file.text_bytes;
        }
        let bytes = u128::from(self.file.text_bytes) * u128::from(self.len());
        (bytes / u128::from(self.file.tokens.max(1))) as u64
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
        let records = manifest.shards.iter().filter(|s| s.split == split);
        let shards = records.map(|record| Shard {
            tokens: 0..record.tokens,
            documents: record.documents,
            file: record.clone(),
        });
        let store = Self {
            inner: Arc::new(Inner {
                folder: folder.to_path_buf(),
                split,
                token_type: manifest.token_type,
                boundaries: Boundaries {
                    eod: manifest.tokenizer.eod,
                    bos: manifest.tokenizer.bos,
                },
                vocab_size: manifest.tokenizer.vocab_size,
                shards: shards.collect(),
                token_bytes: tokenizer.token_bytes(),
                files: Mutex::default(),
            }),
        };
        for Shard { file: shard, .. } in &store.inner.shards {
            let stem = folder.join(&shard.name);
            let width = manifest.token_type.width() as u64;
            let bytes = shard.token_bytes.as_ref();
            let bytes = bytes.map(|record| (bytes_path(&stem), bytes_size(shard.tokens, record)));
            for (path, want) in [
                (bin_path(&stem), shard.tokens * width),
                (idx_path(&stem), idx_size(shard.documents)),
            ]
            .into_iter()
            .chain(bytes)
            {
                match fs::metadata(&path) {
                    Ok(meta) if meta.len() == want => {}
                    Ok(meta) => {
                        let message =
                            format!("it has {} bytes, its manifest says {want}", meta.len());
                        return Err(store.damaged(path, message));
                    }
                    Err(e) => return Err(store.damaged(path, e.to_string())),
                }
            }
        }
        Ok(store)
    }

    /// Reads every file and compares it with the hashes and counts of the manifest.
    ///
    /// # Errors
    /// [`DataError::Damaged`] names the first file that differs.
    pub fn verify(&self) -> Result<(), DataError> {
        for Shard { file: shard, .. } in &self.inner.shards {
            let stem = self.inner.folder.join(&shard.name);
            let bytes = shard.token_bytes.as_ref();
            for (path, want) in [
                (bin_path(&stem), &shard.bin_xxh3),
                (idx_path(&stem), &shard.idx_xxh3),
            ]
            .into_iter()
            .chain(bytes.map(|record| (bytes_path(&stem), &record.xxh3)))
            {
                let hash =
                    xxh3::of_file(&path).map_err(|e| self.damaged(path.clone(), e.to_string()))?;
                if hash != *want {
                    return Err(self.damaged(
                        path,
                        format!("its hash is {hash}, its manifest says {want}"),
                    ));
                }
            }
            let index = Index::read(&stem)?;
            let tokens: u64 = index.lengths.iter().map(|l| u64::from(*l)).sum();
            if index.token_type != self.inner.token_type || tokens != shard.tokens {
                let message = "it indexes other tokens than its manifest says".to_owned();
                return Err(self.damaged(idx_path(&stem), message));
            }
        }
        Ok(())
    }

    /// Which split this is.
    pub fn split(&self) -> Split {
        self.inner.split
    }

    /// This store without its last `tokens` tokens, for training, and those for validation.
    ///
    /// # Errors
    /// [`DataError::Damaged`] if the index of a file that is parted can't be read.
    pub(crate) fn hold_out(&self, tokens: u64) -> Result<(Self, Self), DataError> {
        let (mut kept, mut held) = (self.inner.shards.clone(), Vec::new());
        let mut left = tokens;
        while left > 0
            && let Some(last) = kept.pop()
        {
            if last.len() <= left {
                left -= last.len();
                held.push(last);
                continue;
            }
            let middle = last.tokens.end - left;
            kept.push(self.part(&last, last.tokens.start..middle)?);
            held.push(self.part(&last, middle..last.tokens.end)?);
            left = 0;
        }
        held.reverse();
        Ok((
            self.with(Split::Train, kept),
            self.with(Split::Validation, held),
        ))
    }

    fn with(&self, split: Split, shards: Vec<Shard>) -> Self {
        let Inner {
            folder,
            token_type,
            boundaries,
            vocab_size,
            token_bytes,
            ..
        } = &*self.inner;
        Self {
            inner: Arc::new(Inner {
                folder: folder.clone(),
                split,
                token_type: *token_type,
                boundaries: *boundaries,
                vocab_size: *vocab_size,
                shards,
                token_bytes: token_bytes.clone(),
                files: Mutex::default(),
            }),
        }
    }

    /// Some tokens of a shard's file as a shard.
    fn part(&self, shard: &Shard, tokens: Range<u64>) -> Result<Shard, DataError> {
        let index = Index::read(&self.inner.folder.join(&shard.file.name))?;
        let mut end = 0;
        let documents = index.lengths.iter().filter(|length| {
            let start = end;
            end += u64::from(**length);
            start < tokens.end && end > tokens.start
        });
        Ok(Shard {
            documents: documents.count() as u64,
            file: shard.file.clone(),
            tokens,
        })
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

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.inner.shards.len()
    }

    /// Tokens of all shards, end-of-document tokens included.
    pub fn tokens(&self) -> u64 {
        self.inner.shards.iter().map(Shard::len).sum()
    }

    /// Documents of all shards; one that is parted between the splits counts in both.
    pub fn documents(&self) -> u64 {
        self.inner.shards.iter().map(|s| s.documents).sum()
    }

    /// UTF-8 bytes of the documents' text; where the splits share a file, its share by tokens.
    pub fn text_bytes(&self) -> u64 {
        self.inner.shards.iter().map(Shard::text_bytes).sum()
    }

    /// Bytes of its token files.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.tokens() * self.inner.token_type.width() as u64
    }

    /// Samples of one shard with context `T`. At most 2^32 - 1: the rest of a larger shard, which
    /// no permutation of 32-bit numbers reaches, is left out.
    pub fn samples_in(&self, shard: usize, context: usize) -> u64 {
        let tokens = self.inner.shards.get(shard).map_or(0, Shard::len);
        let samples = tokens.saturating_sub(1).checked_div(context as u64);
        samples.unwrap_or(0).min(u64::from(u32::MAX))
    }

    /// Samples of all shards with context `T`: the length of an epoch.
    pub fn samples(&self, context: usize) -> u64 {
        (0..self.shards())
            .map(|s| self.samples_in(s, context))
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
        if self.shards() == 0 {
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
                shards: self.shards(),
                longest: self.inner.shards.iter().map(Shard::len).max().unwrap_or(0),
                context,
            });
        }
        Ok(())
    }

    /// Sample `index` of a shard with context `T`: `T + 1` tokens from token `index * T` on.
    ///
    /// # Errors
    /// [`DataError::Damaged`] if the file is shorter than it was or holds an id outside the
    /// vocabulary; [`DataError::Cursor`] if there is no such sample.
    pub fn sample(&self, shard: usize, index: u64, context: usize) -> Result<Sample, DataError> {
        let samples = self.samples_in(shard, context);
        if index >= samples {
            return Err(DataError::Cursor {
                epoch: 0,
                shard,
                sample: index,
                message: format!("the shard has {samples} samples of context {context}"),
            });
        }
        let start = index * context as u64;
        let tokens = self.read(shard, start, context + 1)?;
        let bytes = self.bytes(shard, start, &tokens)?;
        Ok(Sample { tokens, bytes })
    }

    /// The bytes of text of a shard's `tokens` from token `start` on.
    fn bytes(
        &self,
        shard: usize,
        start: u64,
        tokens: &[u32],
    ) -> Result<Option<Vec<u32>>, DataError> {
        let Shard {
            file: record,
            tokens: part,
            ..
        } = &self.inner.shards[shard];
        let Some(bytes) = &record.token_bytes else {
            let table = self.inner.token_bytes.as_ref();
            // Ids that were read are below the vocabulary's size, as the table is long.
            return Ok(table.map(|table| tokens.iter().map(|id| table[*id as usize]).collect()));
        };
        let path = bytes_path(&self.inner.folder.join(&record.name));
        let file = self.file(&path)?;
        token_bytes::read(
            &file,
            record.tokens,
            bytes,
            part.start + start,
            tokens.len(),
        )
        .map(Some)
        .map_err(|e| self.damaged(path, e.to_string()))
    }

    /// `count` tokens of a shard from token `start` on, which must lie within the shard.
    pub(crate) fn read(
        &self,
        shard: usize,
        start: u64,
        count: usize,
    ) -> Result<Vec<u32>, DataError> {
        let width = self.inner.token_type.width();
        let Shard { file, tokens, .. } = &self.inner.shards[shard];
        let path = bin_path(&self.inner.folder.join(&file.name));
        let file = self.file(&path)?;
        let start = tokens.start + start;
        let mut bytes = vec![0; count * width];
        files::read_at(&file, &mut bytes, start * width as u64)
            .map_err(|e| self.damaged(path.clone(), e.to_string()))?;
        let tokens = self.inner.token_type.decode(&bytes);
        if let Some(id) = tokens
            .iter()
            .find(|id| **id as usize >= self.inner.vocab_size)
        {
            let message = format!(
                "it holds the id {id}, outside the vocabulary of {}",
                self.inner.vocab_size
            );
            return Err(self.damaged(path, message));
        }
        Ok(tokens)
    }

    /// Tokens of a shard.
    pub(crate) fn tokens_in(&self, shard: usize) -> u64 {
        self.inner.shards[shard].len()
    }

    fn file(&self, path: &Path) -> Result<Arc<File>, DataError> {
        // The map only saves opening files, so one that a panicking thread left behind is fine.
        let mut open = self
            .inner
            .files
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(file) = open.get(path) {
            return Ok(Arc::clone(file));
        }
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        let file = File::open(path).map_err(|e| self.damaged(path.into(), e.to_string()))?;
        let file = Arc::new(file);
        open.insert(path.into(), Arc::clone(&file));
        Ok(file)
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
        let samples = (0..self.shards()).flat_map({
            let store = self.clone();
            move |shard| (0..store.samples_in(shard, context)).map(move |index| (shard, index))
        });
        let mut samples = samples
            .take(limit.map_or(usize::MAX, |l| l as usize))
            .peekable();
        Ok(std::iter::from_fn(move || {
            samples.peek()?;
            let mut out = Batch::new(context);
            for (shard, index) in samples.by_ref().take(batch.max(1)) {
                match store.sample(shard, index, context) {
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

    fn damaged(&self, path: PathBuf, message: String) -> DataError {
        DataError::Damaged {
            path,
            message,
            cache: self.inner.folder.clone(),
        }
    }
}
