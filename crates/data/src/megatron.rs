//! Token files in Megatron's indexed format.
//!
//! `.bin` holds the tokens of all documents one after the other, little-endian. `.idx` holds, also
//! little-endian: the magic `MMIDIDX\0\0`, u64 version 1, u8 element type (8 = u16, 4 = i32), u64
//! number of sequences N, u64 number of document bounds N + 1, then N i32 lengths in tokens, N i64
//! byte offsets into `.bin`, and N + 1 i64 document bounds. One document is one sequence here.
//! (Layout: Megatron-LM, `megatron/core/datasets/indexed_dataset.py`.)

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::xxh3::{self, Xxh3};

const MAGIC: &[u8; 9] = b"MMIDIDX\x00\x00";
const HEADER: u64 = 9 + 8 + 1 + 8 + 8;

/// How a token is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// Two bytes: vocabularies up to 65,536.
    Uint16,
    /// Four bytes.
    Int32,
}

impl TokenType {
    /// The narrowest type that holds every id below `vocab_size`.
    pub fn for_vocab(vocab_size: usize) -> Self {
        if vocab_size <= 1 << 16 {
            Self::Uint16
        } else {
            Self::Int32
        }
    }

    /// Bytes per token.
    pub fn width(self) -> usize {
        match self {
            Self::Uint16 => 2,
            Self::Int32 => 4,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Uint16 => 8,
            Self::Int32 => 4,
        }
    }

    pub(crate) fn push(self, id: u32, out: &mut Vec<u8>) {
        match self {
            Self::Uint16 => out.extend_from_slice(&(id as u16).to_le_bytes()),
            Self::Int32 => out.extend_from_slice(&id.to_le_bytes()),
        }
    }

    /// The ids in stored bytes; a negative Int32 becomes an id no vocabulary has.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<u32> {
        match self {
            Self::Uint16 => bytes
                .chunks_exact(2)
                .map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])))
                .collect(),
            Self::Int32 => bytes
                .chunks_exact(4)
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        }
    }
}

/// What a finished pair of files holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Sequences.
    pub documents: u64,
    /// Tokens of all of them.
    pub tokens: u64,
    /// XXH3 of the `.bin` file, 64 bits in hexadecimal.
    pub bin_xxh3: String,
    /// XXH3 of the `.idx` file.
    pub idx_xxh3: String,
}

/// Writes `stem.bin` and `stem.idx`. They get these names only when they are complete.
#[derive(Debug)]
pub struct MegatronWriter {
    stem: PathBuf,
    bin: BufWriter<File>,
    token_type: TokenType,
    hash: Xxh3,
    lengths: Vec<i32>,
    tokens: u64,
    buffer: Vec<u8>,
}

/// The path of a shard's tokens.
pub(crate) fn bin_path(stem: &Path) -> PathBuf {
    with_suffix(stem, ".bin")
}

/// The path of a shard's index.
pub(crate) fn idx_path(stem: &Path) -> PathBuf {
    with_suffix(stem, ".idx")
}

fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut path = stem.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The size of an index of so many documents.
pub(crate) fn idx_size(documents: u64) -> u64 {
    HEADER + 4 * documents + 8 * documents + 8 * (documents + 1)
}

impl MegatronWriter {
    /// Starts `stem.bin`, aside.
    ///
    /// # Errors
    /// The file can't be created.
    pub fn create(stem: &Path, token_type: TokenType) -> Result<Self, DataError> {
        let aside = evenburn_files::aside(&bin_path(stem));
        let file = File::create(&aside).map_err(|e| DataError::io("create", &aside, e))?;
        Ok(Self {
            stem: stem.to_path_buf(),
            bin: BufWriter::with_capacity(1 << 18, file),
            token_type,
            hash: Xxh3::new(),
            lengths: Vec::new(),
            tokens: 0,
            buffer: Vec::new(),
        })
    }

    /// Appends one document, whose ids include its end-of-document token.
    ///
    /// # Errors
    /// The file can't be written, or a document has 2^31 tokens or more.
    pub fn document(&mut self, ids: &[u32]) -> Result<(), DataError> {
        let length = i32::try_from(ids.len()).map_err(|_| DataError::Tokenizer {
            path: self.stem.clone(),
            message: format!(
                "a document of {} tokens is too long for the index",
                ids.len()
            ),
        })?;
        self.buffer.clear();
        for &id in ids {
            self.token_type.push(id, &mut self.buffer);
        }
        self.hash.update(&self.buffer);
        self.bin.write_all(&self.buffer).map_err(|e| {
            DataError::io("write", &evenburn_files::aside(&bin_path(&self.stem)), e)
        })?;
        self.lengths.push(length);
        self.tokens += ids.len() as u64;
        Ok(())
    }

    /// Completes both files, syncs them and gives them their names.
    ///
    /// # Errors
    /// A file can't be written, synced or renamed.
    pub fn finish(self) -> Result<Written, DataError> {
        let bin = bin_path(&self.stem);
        let aside = evenburn_files::aside(&bin);
        let file = self
            .bin
            .into_inner()
            .map_err(|e| DataError::io("write", &aside, e.into_error()))?;
        file.sync_all()
            .map_err(|e| DataError::io("sync", &aside, e))?;
        let idx = index(&self.lengths, self.token_type);
        evenburn_files::replace(&idx_path(&self.stem), &idx)?;
        evenburn_files::rename(&aside, &bin)?;
        Ok(Written {
            documents: self.lengths.len() as u64,
            tokens: self.tokens,
            bin_xxh3: self.hash.finish(),
            idx_xxh3: xxh3::of_bytes(&idx),
        })
    }
}

fn index(lengths: &[i32], token_type: TokenType) -> Vec<u8> {
    let n = lengths.len() as u64;
    let mut idx = Vec::with_capacity(idx_size(n) as usize);
    idx.extend_from_slice(MAGIC);
    idx.extend_from_slice(&1u64.to_le_bytes());
    idx.push(token_type.code());
    idx.extend_from_slice(&n.to_le_bytes());
    idx.extend_from_slice(&(n + 1).to_le_bytes());
    for length in lengths {
        idx.extend_from_slice(&length.to_le_bytes());
    }
    let mut offset = 0i64;
    for &length in lengths {
        idx.extend_from_slice(&offset.to_le_bytes());
        offset += i64::from(length) * token_type.width() as i64;
    }
    for bound in 0..=lengths.len() as i64 {
        idx.extend_from_slice(&bound.to_le_bytes());
    }
    idx
}

/// A parsed index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// How tokens are stored in the `.bin` file.
    pub token_type: TokenType,
    /// Tokens of each document.
    pub lengths: Vec<u32>,
}

impl Index {
    /// Reads `stem.idx`, whose sequences must lie one after the other in `stem.bin`.
    ///
    /// # Errors
    /// The file can't be read; or a sentence in [`DataError::Damaged`] says what isn't as the format
    /// asks.
    pub fn read(stem: &Path) -> Result<Self, DataError> {
        let path = idx_path(stem);
        let bytes = fs::read(&path).map_err(|e| DataError::io("read", &path, e))?;
        Self::parse(&bytes).map_err(|message| DataError::Damaged {
            cache: stem.parent().unwrap_or(stem).to_path_buf(),
            path,
            message,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let array = |at: usize| -> Result<[u8; 8], String> {
            let slice = bytes.get(at..at + 8).ok_or("it ends inside its header")?;
            slice
                .try_into()
                .map_err(|_| "it ends inside its header".to_owned())
        };
        if !bytes.starts_with(MAGIC) {
            return Err("it doesn't start with Megatron's mark".into());
        }
        let version = u64::from_le_bytes(array(9)?);
        if version != 1 {
            return Err(format!("its version is {version}, not 1"));
        }
        let token_type = match bytes.get(17) {
            Some(8) => TokenType::Uint16,
            Some(4) => TokenType::Int32,
            code => {
                return Err(format!(
                    "its element type is {code:?}, not 8 (uint16) or 4 (int32)"
                ));
            }
        };
        let documents = u64::from_le_bytes(array(18)?);
        let bounds = u64::from_le_bytes(array(26)?);
        if documents > bytes.len() as u64 || bytes.len() as u64 != idx_size(documents) {
            return Err(format!(
                "{} bytes can't index {documents} documents",
                bytes.len()
            ));
        }
        let n = documents as usize;
        let start = HEADER as usize;
        let (lengths, rest) = bytes[start..].split_at(4 * n);
        let lengths: Vec<u32> = TokenType::Int32.decode(lengths);
        let longs: Vec<u64> = rest
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        let mut offset = 0;
        for (length, at) in lengths.iter().zip(&longs[..n]) {
            if *at != offset {
                return Err(format!("a document starts at byte {at}, not {offset}"));
            }
            offset += u64::from(*length) * token_type.width() as u64;
        }
        if bounds != documents + 1 || !longs[n..].iter().copied().eq(0..=documents) {
            return Err("its documents are not one sequence each".into());
        }
        Ok(Self {
            token_type,
            lengths,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, documents: &[&[u32]], token_type: TokenType) -> Written {
        let mut writer = MegatronWriter::create(&dir.join("s"), token_type).unwrap();
        for ids in documents {
            writer.document(ids).unwrap();
        }
        assert!(!dir.join("s.bin").exists());
        writer.finish().unwrap()
    }

    #[test]
    fn bytes_are_as_the_format_says() {
        let dir = tempfile::tempdir().unwrap();
        let written = write(dir.path(), &[&[1, 2, 0x1234], &[7]], TokenType::Uint16);
        assert_eq!((written.documents, written.tokens), (2, 4));
        assert_eq!(
            fs::read(dir.path().join("s.bin")).unwrap(),
            [1, 0, 2, 0, 0x34, 0x12, 7, 0]
        );
        let idx = fs::read(dir.path().join("s.idx")).unwrap();
        let mut want = b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0\x08".to_vec();
        for word in [2u64, 3] {
            want.extend(word.to_le_bytes());
        }
        for length in [3i32, 1] {
            want.extend(length.to_le_bytes());
        }
        for word in [0i64, 6, 0, 1, 2] {
            want.extend(word.to_le_bytes());
        }
        assert_eq!(idx, want);
        assert_eq!(
            xxh3::of_file(&dir.path().join("s.idx")).unwrap(),
            written.idx_xxh3
        );
        assert_eq!(
            xxh3::of_file(&dir.path().join("s.bin")).unwrap(),
            written.bin_xxh3
        );
    }

    #[test]
    fn large_vocabularies_take_four_bytes() {
        assert_eq!(TokenType::for_vocab(65_536), TokenType::Uint16);
        assert_eq!(TokenType::for_vocab(65_537), TokenType::Int32);
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[&[70_000, 1]], TokenType::Int32);
        let bin = fs::read(dir.path().join("s.bin")).unwrap();
        assert_eq!(TokenType::Int32.decode(&bin), [70_000, 1]);
        let index = Index::read(&dir.path().join("s")).unwrap();
        assert_eq!(
            index,
            Index {
                token_type: TokenType::Int32,
                lengths: vec![2]
            }
        );
    }

    #[test]
    fn damaged_indices_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[&[1, 2], &[3]], TokenType::Uint16);
        let stem = dir.path().join("s");
        let good = fs::read(idx_path(&stem)).unwrap();
        for (at, what) in [
            (0, "mark"),
            (9, "version"),
            (17, "type"),
            (18, "can't index"),
            (44, "starts at"),
            (26, "one sequence"),
        ] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(idx_path(&stem), bad).unwrap();
            let message = Index::read(&stem).unwrap_err().to_string();
            assert!(message.contains(what), "{what}: {message}");
        }
        fs::write(idx_path(&stem), &good[..20]).unwrap();
        assert!(Index::read(&stem).is_err());
    }
}
