//! Text to token ids and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper};

use crate::byte_level::ByteLevelBpe;
use crate::reserved::Reserved;
use crate::{Boundaries, DataError, Progress, bpe, cut, parts};

mod encoding;

/// A tokenizer with its end-of-document token.
///
/// Text never becomes the end-of-document token, however the file marks it: `<|endoftext|>` written
/// in a document is encoded as characters, so that an end-of-document id always is the end of a
/// document. Nor is text searched for the other special tokens. Nothing is added around a text, cut
/// off or padded, whatever the file says, and nothing about the ids is random: what had to be
/// changed for that is said by [`Tokenizer::remarks`].
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
    /// What no text becomes.
    reserved: Reserved,
    /// The fast way to ids, where there is one; found when a text is first encoded.
    fast: OnceLock<Option<Arc<ByteLevelBpe>>>,
    /// Whether long texts may be encoded in pieces.
    cuts: bool,
    /// Bytes of text by id, where an id stands for the same number everywhere.
    token_bytes: Option<Arc<[u32]>>,
    unknown: Option<u32>,
    remarks: Vec<String>,
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
        let remarks = make_deterministic(&mut inner, origin);
        let vocab_size = inner
            .get_vocab(true)
            .values()
            .max()
            .map_or(0, |id| *id as usize + 1);
        let mut tokenizer = Self {
            reserved: Reserved::default(),
            fast: OnceLock::new(),
            cuts: cut::is_invisible(&inner),
            token_bytes: parts::token_bytes(&inner, vocab_size).map(Into::into),
            unknown: parts::unknown(&inner, &json),
            remarks,
            inner,
            origin: origin.to_path_buf(),
            sha256: evenburn_files::sha256(json.as_bytes()),
            json,
            eod,
            eod_token: eod_token.into(),
            bos: None,
            vocab_size,
        };
        tokenizer.reserve(eod, eod_token, "data.eod_token")?;
        Ok(tokenizer)
    }

    /// Sees to it that no text becomes a token, which the configuration's `key` names.
    fn reserve(&mut self, id: u32, name: &str, key: &'static str) -> Result<(), DataError> {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        // Text isn't searched for special ones.
        if let Some(token) = added.get(&id).filter(|token| !token.special).cloned() {
            let special = AddedToken {
                special: true,
                ..token
            };
            self.inner
                .add_special_tokens([special])
                .map_err(|e| self.fault(&e))?;
        }
        self.reserved.add(id, name, key);
        self.fast = OnceLock::new();
        if let Some(bytes) = &mut self.token_bytes {
            Arc::make_mut(bytes)[id as usize] = 0;
        }
        Ok(())
    }

    /// Puts the token `bos` before every document, or nothing (as when it was loaded). No text becomes it either.
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
        const KEY: &str = "data.bos_token";
        self.bos = None;
        if let Some(name) = bos {
            let id = id_of(&self.inner, &self.origin, KEY, name)?;
            self.reserve(id, name, KEY)?;
            self.bos = Some(id);
        }
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
        Self::train_reporting(texts, vocab_size, eod_token, &())
    }

    /// [`Tokenizer::train`], heard by `progress` while the merges are computed.
    pub(crate) fn train_reporting(
        texts: impl Iterator<Item = Result<String, DataError>> + Send,
        vocab_size: usize,
        eod_token: &str,
        progress: &dyn Progress,
    ) -> Result<Self, DataError> {
        if vocab_size < 257 {
            return Err(DataError::config(
                "data.tokenizer_vocab",
                format!("is {vocab_size}, must be at least 257"),
            ));
        }
        let trained = bpe::train(texts, vocab_size, eod_token, progress)
            .and_then(|trained| Ok(trained.to_string(false)?));
        let json = trained.map_err(|failure| match failure {
            bpe::Failure::Stopped(e) => e,
            bpe::Failure::Trainer(e) => DataError::Tokenizer {
                path: TRAINED.into(),
                message: e.to_string(),
            },
        })?;
        Self::from_json(json, Path::new(TRAINED), eod_token)
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
        Ok(evenburn_files::replace(path, self.json.as_bytes())?)
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

    /// How many bytes of text each id stands for, by id; none if that depends on where it stands.
    pub(crate) fn token_bytes(&self) -> Option<Arc<[u32]>> {
        self.token_bytes.clone()
    }

    /// The id that stands for text which the tokenizer doesn't know.
    pub(crate) fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// What is done otherwise than the file says, and what its user should know, in sentences.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
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

/// Makes the ids of a text depend on it alone, and their text readable. Returns what was changed.
fn make_deterministic(tokenizer: &mut tokenizers::Tokenizer, origin: &Path) -> Vec<String> {
    let origin = origin.display();
    let mut remarks = Vec::new();
    // (A Unigram model that samples can't be written to a file.)
    if let ModelWrapper::BPE(model) = tokenizer.get_model()
        && let Some(dropout) = model.dropout.filter(|share| *share > 0.0)
    {
        let mut model = model.clone();
        model.dropout = None;
        tokenizer.with_model(model);
        remarks.push(format!(
            "tokenizer {origin}: its dropout of {dropout} is switched off, for with it the same text has other ids every time"
        ));
    }
    if parts::is_byte_level(tokenizer) && !tokenizer.get_decoder().is_some_and(reads_bytes) {
        tokenizer.with_decoder(Some(ByteLevel::default()));
        remarks.push(format!(
            "tokenizer {origin}: its tokens are bytes but its decoder doesn't read them; they are decoded as bytes all the same"
        ));
    }
    remarks
}

/// Whether a decoder maps the byte-level alphabet back to bytes.
fn reads_bytes(decoder: &DecoderWrapper) -> bool {
    match decoder {
        DecoderWrapper::ByteLevel(_) => true,
        DecoderWrapper::Sequence(parts) => parts.get_decoders().iter().any(reads_bytes),
        _ => false,
    }
}

/// What a tokenizer that was just trained is called in messages.
const TRAINED: &str = "(trained)";

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

#[cfg(test)]
mod tests;
