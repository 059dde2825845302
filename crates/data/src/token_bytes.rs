//! How many bytes of text each token of a shard stands for, in a file beside it.
//!
//! Only where the same token may stand for different numbers of bytes, so that no table can say it:
//! `[UNK]` for any word, `▁a` for `a` at the start of a text, a token after spaces that the tokenizer
//! drops. The bytes from the end of the token before to the end of a token are its own; what is left
//! at the end of a document is its end-of-document token's. So they sum to the text's.
//!
//! `.bytes` holds one byte a token; 255 stands for as many or more. For each token of 255 bytes or
//! more there follow, little-endian, its u64 position in the shard and its u64 bytes, in order.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::xxh3::Xxh3;
use crate::{DataError, files};

/// From here on a count doesn't fit into its byte.
const LONG: u32 = 255;
/// Bytes of a long token's entry.
const ENTRY: u64 = 16;

/// The tokens of a document, or of a piece of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    /// Bytes of text of each; none where the tokenizer has a table.
    pub(crate) bytes: Option<Vec<u32>>,
    /// Bytes after the last token's.
    left: u32,
}

impl Tokens {
    /// Tokens that a table counts.
    pub(crate) fn plain(ids: Vec<u32>) -> Self {
        Self {
            ids,
            ..Self::default()
        }
    }

    /// Tokens of a text of `length` bytes, by where each of them ends.
    pub(crate) fn ending(ids: Vec<u32>, ends: impl Iterator<Item = usize>, length: usize) -> Self {
        let mut before = 0;
        let bytes = ends.map(|end| {
            let end = end.clamp(before, length);
            (end - mem::replace(&mut before, end)) as u32
        });
        Self {
            bytes: Some(bytes.collect()),
            ids,
            left: (length - before) as u32,
        }
    }

    /// Appends the tokens of the text that follows.
    pub(crate) fn append(&mut self, mut next: Self) {
        if let (Some(bytes), Some(more)) = (&mut self.bytes, &mut next.bytes) {
            if let Some(first) = more.first_mut() {
                *first += mem::take(&mut self.left);
            }
            bytes.append(more);
        }
        self.ids.append(&mut next.ids);
        self.left += next.left;
    }

    /// Appends a token that is no text. What is left of the text is counted to it.
    pub(crate) fn push(&mut self, id: u32) {
        self.ids.push(id);
        if let Some(bytes) = &mut self.bytes {
            bytes.push(mem::take(&mut self.left));
        }
    }
}

/// What a manifest knows of a shard's `.bytes` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBytesRecord {
    /// Tokens of 255 bytes or more.
    pub long: u64,
    /// XXH3 of the file, 64 bits in hexadecimal.
    pub xxh3: String,
}

/// The path of a shard's bytes.
pub(crate) fn bytes_path(stem: &Path) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(".bytes");
    path.into()
}

/// The size of the file of so many tokens.
pub(crate) fn bytes_size(tokens: u64, record: &TokenBytesRecord) -> u64 {
    tokens + ENTRY * record.long
}

/// Writes `stem.bytes`. It gets this name only when it is complete.
pub(crate) struct TokenBytesWriter {
    path: PathBuf,
    out: BufWriter<File>,
    hash: Xxh3,
    tokens: u64,
    /// Positions and bytes of long tokens.
    long: Vec<(u64, u64)>,
}

impl TokenBytesWriter {
    pub(crate) fn create(stem: &Path) -> Result<Self, DataError> {
        let path = bytes_path(stem);
        let aside = evenburn_files::aside(&path);
        let file = File::create(&aside).map_err(|e| DataError::io("create", &aside, e))?;
        Ok(Self {
            path,
            out: BufWriter::with_capacity(1 << 18, file),
            hash: Xxh3::new(),
            tokens: 0,
            long: Vec::new(),
        })
    }

    /// Appends the bytes of one document's tokens.
    pub(crate) fn document(&mut self, bytes: &[u32]) -> Result<(), DataError> {
        let positions = self.tokens..;
        let long = positions.zip(bytes).filter(|(_, count)| **count >= LONG);
        self.long
            .extend(long.map(|(position, count)| (position, u64::from(*count))));
        self.tokens += bytes.len() as u64;
        let short: Vec<u8> = bytes.iter().map(|count| *count.min(&LONG) as u8).collect();
        self.write(&short)
    }

    /// Completes the file, syncs it and gives it its name.
    pub(crate) fn finish(mut self) -> Result<TokenBytesRecord, DataError> {
        let entries: Vec<u8> = self
            .long
            .iter()
            .flat_map(|(position, count)| [*position, *count])
            .flat_map(u64::to_le_bytes)
            .collect();
        self.write(&entries)?;
        let aside = evenburn_files::aside(&self.path);
        let file = self
            .out
            .into_inner()
            .map_err(|e| DataError::io("write", &aside, e.into_error()))?;
        file.sync_all()
            .map_err(|e| DataError::io("sync", &aside, e))?;
        evenburn_files::rename(&aside, &self.path)?;
        Ok(TokenBytesRecord {
            long: self.long.len() as u64,
            xxh3: self.hash.finish(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.hash.update(bytes);
        self.out
            .write_all(bytes)
            .map_err(|e| DataError::io("write", &evenburn_files::aside(&self.path), e))
    }
}

/// The bytes of `count` tokens from `start` on, in the file of a shard of `tokens` tokens.
pub(crate) fn read(
    file: &File,
    tokens: u64,
    record: &TokenBytesRecord,
    start: u64,
    count: usize,
) -> io::Result<Vec<u32>> {
    let mut short = vec![0; count];
    files::read_at(file, &mut short, start)?;
    let mut bytes: Vec<u32> = short.into_iter().map(u32::from).collect();
    if bytes.contains(&LONG) {
        let entry = |number: u64| -> io::Result<[u64; 2]> {
            let mut entry = [[0; 8]; 2];
            files::read_at(file, entry.as_flattened_mut(), tokens + ENTRY * number)?;
            Ok(entry.map(u64::from_le_bytes))
        };
        let (mut low, mut high) = (0, record.long);
        while low < high {
            let middle = low.midpoint(high);
            if entry(middle)?[0] < start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        for number in low..record.long {
            let [position, count] = entry(number)?;
            let Some(place) = position.checked_sub(start) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "its long tokens are not in order",
                ));
            };
            match bytes.get_mut(place as usize) {
                Some(bytes) => *bytes = count as u32,
                None => break,
            }
        }
    }
    Ok(bytes)
}
