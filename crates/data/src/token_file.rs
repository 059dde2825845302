//! The packed documents of a window in their files, or a part of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::manifest::{Manifest, ShardRecord};
use crate::megatron::{Index, TokenType, bin_path, idx_path, idx_size};
use crate::token_bytes::{self, bytes_path, bytes_size};
use crate::window::PackedText;
use crate::{DataError, Tokenizer, files, xxh3};

/// Files kept open at once, well below the limits of operating systems.
const OPEN_FILES: usize = 64;

/// What the token files of a cache folder have in common.
#[derive(Debug)]
pub(crate) struct TokenFolder {
    path: PathBuf,
    token_type: TokenType,
    vocab_size: usize,
    /// Bytes of text by id, for files without those of their tokens.
    token_bytes: Option<Arc<[u32]>>,
    open: Mutex<HashMap<PathBuf, Arc<File>>>,
}

impl TokenFolder {
    /// The folder that a manifest describes, with the tokens of `tokenizer`.
    pub(crate) fn new(path: &Path, manifest: &Manifest, tokenizer: &Tokenizer) -> Self {
        Self {
            path: path.to_path_buf(),
            token_type: manifest.token_type,
            vocab_size: manifest.tokenizer.vocab_size,
            token_bytes: tokenizer.token_bytes(),
            open: Mutex::default(),
        }
    }

    fn file(&self, path: &Path) -> Result<Arc<File>, DataError> {
        // The map only saves opening files, so one that a panicking thread left behind is fine.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
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

    fn damaged(&self, path: PathBuf, message: String) -> DataError {
        DataError::Damaged {
            path,
            message,
            cache: self.path.clone(),
        }
    }
}

/// A token file, or a part of one: where text is held out by position, two splits share a file.
#[derive(Debug, Clone)]
pub(crate) struct TokenFile {
    folder: Arc<TokenFolder>,
    record: Arc<ShardRecord>,
    /// Its tokens in the file.
    tokens: Range<u64>,
}

impl TokenFile {
    /// All of a file that a manifest has a record of. Its sizes must be those that follow from the record's counts.
    ///
    /// # Errors
    /// [`DataError::Damaged`] names the first file that is missing or has another size.
    pub(crate) fn open(folder: &Arc<TokenFolder>, record: &ShardRecord) -> Result<Self, DataError> {
        let stem = folder.path.join(&record.name);
        let width = folder.token_type.width() as u64;
        let bytes = record.token_bytes.as_ref();
        let bytes = bytes.map(|bytes| (bytes_path(&stem), bytes_size(record.tokens, bytes)));
        for (path, want) in [
            (bin_path(&stem), record.tokens * width),
            (idx_path(&stem), idx_size(record.documents)),
        ]
        .into_iter()
        .chain(bytes)
        {
            match fs::metadata(&path) {
                Ok(meta) if meta.len() == want => {}
                Ok(meta) => {
                    let message = format!("it has {} bytes, its manifest says {want}", meta.len());
                    return Err(folder.damaged(path, message));
                }
                Err(e) => return Err(folder.damaged(path, e.to_string())),
            }
        }
        Ok(Self {
            folder: Arc::clone(folder),
            tokens: 0..record.tokens,
            record: Arc::new(record.clone()),
        })
    }

    /// Some of its tokens.
    pub(crate) fn part(&self, tokens: Range<u64>) -> Self {
        let start = self.tokens.start;
        Self {
            tokens: start + tokens.start..start + tokens.end,
            ..self.clone()
        }
    }

    /// Documents that have tokens in it.
    ///
    /// # Errors
    /// [`DataError::Damaged`] if its index can't be read.
    pub(crate) fn documents(&self) -> Result<u64, DataError> {
        if self.is_whole() {
            return Ok(self.record.documents);
        }
        let index = Index::read(&self.folder.path.join(&self.record.name))?;
        let mut end = 0;
        let documents = index.lengths.iter().filter(|length| {
            let start = end;
            end += u64::from(**length);
            start < self.tokens.end && end > self.tokens.start
        });
        Ok(documents.count() as u64)
    }

    /// Its share of the file's text, by tokens where it is a part.
    pub(crate) fn text_bytes(&self) -> u64 {
        if self.is_whole() {
            return self.record.text_bytes;
        }
        let bytes = u128::from(self.record.text_bytes) * u128::from(PackedText::tokens(self));
        (bytes / u128::from(self.record.tokens.max(1))) as u64
    }

    fn is_whole(&self) -> bool {
        self.tokens == (0..self.record.tokens)
    }
}

impl PackedText for TokenFile {
    fn tokens(&self) -> u64 {
        self.tokens.end - self.tokens.start
    }

    fn read(&self, start: u64, count: usize) -> Result<Vec<u32>, DataError> {
        let width = self.folder.token_type.width();
        let path = bin_path(&self.folder.path.join(&self.record.name));
        let file = self.folder.file(&path)?;
        let start = self.tokens.start + start;
        let mut bytes = vec![0; count * width];
        files::read_at(&file, &mut bytes, start * width as u64)
            .map_err(|e| self.folder.damaged(path.clone(), e.to_string()))?;
        let tokens = self.folder.token_type.decode(&bytes);
        let vocab = self.folder.vocab_size;
        if let Some(id) = tokens.iter().find(|id| **id as usize >= vocab) {
            let message = format!("it holds the id {id}, outside the vocabulary of {vocab}");
            return Err(self.folder.damaged(path, message));
        }
        Ok(tokens)
    }

    fn bytes(&self, start: u64, tokens: &[u32]) -> Result<Option<Vec<u32>>, DataError> {
        let Some(bytes) = &self.record.token_bytes else {
            let table = self.folder.token_bytes.as_ref();
            // Ids that were read are below the vocabulary's size, as the table is long.
            return Ok(table.map(|table| tokens.iter().map(|id| table[*id as usize]).collect()));
        };
        let path = bytes_path(&self.folder.path.join(&self.record.name));
        let file = self.folder.file(&path)?;
        let start = self.tokens.start + start;
        token_bytes::read(&file, self.record.tokens, bytes, start, tokens.len())
            .map(Some)
            .map_err(|e| self.folder.damaged(path, e.to_string()))
    }

    /// Reads its files and compares them with the hashes and counts of the manifest.
    fn verify(&self) -> Result<(), DataError> {
        let record = &self.record;
        let stem = self.folder.path.join(&record.name);
        let bytes = record.token_bytes.as_ref();
        for (path, want) in [
            (bin_path(&stem), &record.bin_xxh3),
            (idx_path(&stem), &record.idx_xxh3),
        ]
        .into_iter()
        .chain(bytes.map(|bytes| (bytes_path(&stem), &bytes.xxh3)))
        {
            let hash = xxh3::of_file(&path)
                .map_err(|e| self.folder.damaged(path.clone(), e.to_string()))?;
            if hash != *want {
                let message = format!("its hash is {hash}, its manifest says {want}");
                return Err(self.folder.damaged(path, message));
            }
        }
        let index = Index::read(&stem)?;
        let tokens: u64 = index.lengths.iter().map(|l| u64::from(*l)).sum();
        if index.token_type != self.folder.token_type || tokens != record.tokens {
            let message = "it indexes other tokens than its manifest says".to_owned();
            return Err(self.folder.damaged(idx_path(&stem), message));
        }
        Ok(())
    }
}
