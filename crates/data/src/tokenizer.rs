//! Text to token ids and back.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::{Boundaries, DataError, bpe, cut, files};

/// A tokenizer with its end-of-document token.
///
/// Text never becomes a special token: `<|endoftext|>` written in a document is encoded as
/// characters, so that an end-of-document id always is the end of a document. Nothing is added
/// around a text, cut off or padded, whatever the file says.
///
/// ```
/// use evenburn_data::Tokenizer;
/// let texts = ["low lower lowest", "new newer newest"].map(|t| Ok(t.to_owned()));
/// let tokenizer = Tokenizer::train(texts.into_iter(), 270, "<|endoftext|>").unwrap();
/// let ids = tokenizer.encode("newest low").unwrap();
/// assert_eq!(tokenizer.decode(&ids).unwrap(), "newest low");
/// assert!(ids.len() < "newest low".len());
/// ```
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    origin: PathBuf,
    json: String,
    sha256: String,
    eod: u32,
    eod_token: String,
    bos: Option<u32>,
    vocab_size: usize,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("origin", &self.origin)
            .field("sha256", &self.sha256)
            .field("eod", &self.eod)
            .field("vocab_size", &self.vocab_size)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Loads a `tokenizer.json`.
    ///
    /// # Errors
    /// The file is missing or malformed, or has no token `eod_token`; the error lists those it has.
    pub fn from_file(path: &Path, eod_token: &str) -> Result<Self, DataError> {
        let json = fs::read_to_string(path).map_err(|e| DataError::io("read", path, e))?;
        Self::from_json(json, path, eod_token)
    }

    /// Parses the contents of a `tokenizer.json`; `origin` is its name in messages.
    ///
    /// # Errors
    /// As [`Tokenizer::from_file`].
    pub fn from_json(json: String, origin: &Path, eod_token: &str) -> Result<Self, DataError> {
        let fault = |e: tokenizers::Error| DataError::Tokenizer {
            path: origin.to_path_buf(),
            message: e.to_string(),
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(json.as_bytes()).map_err(fault)?;
        inner.with_truncation(None).map_err(fault)?;
        inner.with_padding(None);
        inner.set_encode_special_tokens(true);
        let eod = id_of(&inner, origin, "data.eod_token", eod_token)?;
        let vocab_size = inner
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |id| *id as usize + 1);
        Ok(Self {
            inner,
            origin: origin.to_path_buf(),
            sha256: files::hex(&Sha256::digest(json.as_bytes())),
            json,
            eod,
            eod_token: eod_token.into(),
            bos: None,
            vocab_size,
        })
    }

    /// Puts the token `bos` before every document, or nothing (as when it was loaded).
    ///
    /// # Errors
    /// The tokenizer has no such token; the error lists those it has.
    ///
    /// ```
    /// use evenburn_data::Tokenizer;
    /// let texts = ["low lower lowest"].map(|t| Ok(t.to_owned()));
    /// let tokenizer = Tokenizer::train(texts.into_iter(), 270, "<|endoftext|>").unwrap();
    /// assert_eq!(tokenizer.boundaries().first(), tokenizer.eod());
    /// assert!(tokenizer.with_bos(Some("<s>")).is_err());
    /// ```
    pub fn with_bos(mut self, bos: Option<&str>) -> Result<Self, DataError> {
        let id = |name| id_of(&self.inner, &self.origin, "data.bos_token", name);
        self.bos = bos.map(id).transpose()?;
        Ok(self)
    }

    /// Trains a byte-level BPE with GPT-2's pre-tokenizer, no normalizer and no space put in front.
    ///
    /// The result depends on the texts alone, not on threads or hashing: the same input gives the
    /// same file, byte for byte. Merging stops at `vocab_size` entries, or when no pair occurs twice.
    ///
    /// # Errors
    /// The first error of `texts`; [`DataError::Config`] if `vocab_size` is below 257.
    pub fn train(
        texts: impl Iterator<Item = Result<String, DataError>> + Send,
        vocab_size: usize,
        eod_token: &str,
    ) -> Result<Self, DataError> {
        if vocab_size < 257 {
            return Err(DataError::config(
                "data.tokenizer_vocab",
                format!("is {vocab_size}, must be at least 257"),
            ));
        }
        let trained = bpe::train(texts, vocab_size, eod_token)
            .and_then(|trained| Ok(trained.to_string(false)?));
        let json = trained.map_err(|failure| match failure {
            bpe::Failure::Texts(e) => e,
            bpe::Failure::Trainer(e) => DataError::Tokenizer {
                path: TRAINED.into(),
                message: e.to_string(),
            },
        })?;
        Self::from_json(json, Path::new(TRAINED), eod_token)
    }

    /// The ids of a text, without an end-of-document token.
    ///
    /// # Errors
    /// The tokenizer has no token for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        for piece in cut::pieces(text, cut::PIECE) {
            ids.extend(self.encode_piece(piece)?);
        }
        Ok(ids)
    }

    /// The ids of a text small enough to be encoded at once.
    pub(crate) fn encode_piece(&self, piece: &str) -> Result<Vec<u32>, DataError> {
        let encoding = self.inner.encode_fast(piece, false);
        encoding
            .map(|e| e.get_ids().to_vec())
            .map_err(|e| self.fault(&e))
    }

    /// The text of the ids; special tokens are written out.
    ///
    /// # Errors
    /// The tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        self.inner.decode(ids, false).map_err(|e| self.fault(&e))
    }

    /// The id that ends every document.
    pub fn eod(&self) -> u32 {
        self.eod
    }

    /// The id that begins every document, where one does.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The tokens between which a document lies.
    pub fn boundaries(&self) -> Boundaries {
        Boundaries {
            eod: self.eod,
            bos: self.bos,
        }
    }

    /// The name of the token that ends every document.
    pub fn eod_token(&self) -> &str {
        &self.eod_token
    }

    /// The largest id plus one. (The number of tokens is smaller if ids have gaps.)
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The contents of its `tokenizer.json`.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The underlying tokenizer of the `tokenizers` crate, for what this type doesn't offer.
    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// Writes its `tokenizer.json`: aside first, then renamed, so that `path` is never half a file.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self, path: &Path) -> Result<(), DataError> {
        files::write_atomically(path, self.json.as_bytes())
    }

    /// Checks that a model's embedding has an entry for every id.
    ///
    /// # Errors
    /// [`DataError::Vocabulary`] with both numbers.
    pub fn check_vocab(&self, model_vocab: usize) -> Result<(), DataError> {
        if self.vocab_size > model_vocab {
            return Err(DataError::Vocabulary {
                tokenizer: self.vocab_size,
                model: model_vocab,
            });
        }
        Ok(())
    }

    /// How many UTF-8 bytes each id stands for, by id.
    ///
    /// The end-of-document token and other special tokens count 0: text never becomes one. For a
    /// byte-level tokenizer the table is exact: the counts of an encoded text sum to the bytes of
    /// its decoded text. For others it takes `▁` as a space and `<0x0A>` as one byte.
    pub fn token_bytes(&self) -> Vec<u32> {
        let alphabet = ByteLevel::alphabet();
        let byte_level = self.is_byte_level();
        let mut table = vec![0; self.vocab_size];
        for (token, id) in self.inner.get_vocab(false) {
            let raw_byte = token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
            table[id as usize] = if byte_level && token.chars().all(|c| alphabet.contains(&c)) {
                token.chars().count() as u32
            } else if raw_byte && !byte_level {
                1
            } else if byte_level {
                token.len() as u32
            } else {
                token.replace('▁', " ").len() as u32
            };
        }
        // An added token is matched in the text itself, so its content is what it stands for.
        for (id, token) in self.inner.get_added_tokens_decoder() {
            table[id as usize] = if token.special {
                0
            } else {
                token.content.len() as u32
            };
        }
        table[self.eod as usize] = 0;
        table
    }

    /// Whether its decoder maps characters back to bytes.
    fn is_byte_level(&self) -> bool {
        fn mentions(value: &Value) -> bool {
            match value {
                Value::Object(map) => {
                    map.get("type").and_then(Value::as_str) == Some("ByteLevel")
                        || map.values().any(mentions)
                }
                Value::Array(items) => items.iter().any(mentions),
                _ => false,
            }
        }
        serde_json::to_value(self.inner.get_decoder()).is_ok_and(|v| mentions(&v))
    }

    fn fault(&self, error: &tokenizers::Error) -> DataError {
        DataError::Tokenizer {
            path: self.origin.clone(),
            message: error.to_string(),
        }
    }
}

/// The id of a token that a key names.
fn id_of(
    tokenizer: &tokenizers::Tokenizer,
    origin: &Path,
    key: &'static str,
    name: &str,
) -> Result<u32, DataError> {
    tokenizer.token_to_id(name).ok_or_else(|| {
        let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
        added.sort_by_key(|(id, token)| (!token.special, *id));
        DataError::NoToken {
            path: origin.to_path_buf(),
            key,
            wanted: name.into(),
            candidates: added.into_iter().map(|(_, token)| token.content).collect(),
        }
    })
}

/// What a tokenizer that was just trained is called in messages.
const TRAINED: &str = "(trained)";

/// For each id the number of bytes it stands for; see [`Tokenizer::token_bytes`].
pub fn token_bytes(tokenizer: &Tokenizer) -> Vec<u32> {
    tokenizer.token_bytes()
}

/// Trains a byte-level BPE; see [`Tokenizer::train`].
///
/// # Errors
/// As [`Tokenizer::train`].
pub fn train_bpe(
    texts: impl Iterator<Item = Result<String, DataError>> + Send,
    vocab_size: usize,
    eod_token: &str,
) -> Result<Tokenizer, DataError> {
    Tokenizer::train(texts, vocab_size, eod_token)
}
