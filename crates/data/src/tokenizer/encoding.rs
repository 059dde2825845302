//! From text to ids: the fast way where there is one, and that of the `tokenizers` crate.

use std::sync::Arc;

use tokenizers::{Encoding, OffsetType, PreTokenizer as _};

use super::Tokenizer;
use crate::byte_level::ByteLevelBpe;
use crate::token_bytes::Tokens;
use crate::{DataError, cut};

/// Where normalization changes something in a piece, parts of about this many bytes are looked at for themselves.
const PART: usize = 512;

impl Tokenizer {
    /// The ids of a text, without an end-of-document token.
    ///
    /// # Errors
    /// The tokenizer has no token for a part of the text, or only one that must not stand for text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        for piece in self.pieces(text, cut::PIECE) {
            for (part, fast) in self.parts(piece) {
                match fast {
                    Some(fast) => self.encode_fast(fast, part, &mut ids)?,
                    None => ids.extend_from_slice(self.encoding(part, OffsetType::None)?.get_ids()),
                }
            }
        }
        Ok(ids)
    }

    /// The pieces of about `target` bytes in which a text is encoded, which doesn't show in the ids.
    pub(crate) fn pieces<'a>(&self, text: &'a str, target: usize) -> Vec<&'a str> {
        if self.cuts {
            cut::pieces(text, target)
        } else {
            vec![text]
        }
    }

    /// What stands before the text of every document.
    pub(crate) fn begin(&self) -> Tokens {
        let mut tokens = match self.token_bytes {
            Some(_) => Tokens::plain(Vec::new()),
            None => Tokens::ending(Vec::new(), std::iter::empty(), 0),
        };
        if let Some(bos) = self.bos {
            tokens.push(bos);
        }
        tokens
    }

    /// The tokens of a piece of a text, counted where there is no table of bytes.
    pub(crate) fn encode_piece(&self, piece: &str) -> Result<Tokens, DataError> {
        let mut parts = self.parts(piece).into_iter().map(|(part, fast)| {
            let Some(fast) = fast else {
                return self.encode_by_crate(part);
            };
            let mut ids = Vec::with_capacity(part.len() / 3);
            self.encode_fast(fast, part, &mut ids)?;
            if self.token_bytes.is_some() {
                return Ok(Tokens::plain(ids));
            }
            let ends: Vec<_> = fast.ends(part, &ids).collect();
            Ok(Tokens::ending(ids, ends.into_iter(), part.len()))
        });
        let mut tokens = parts.next().transpose()?.unwrap_or_default();
        for next in parts {
            tokens.append(next?);
        }
        Ok(tokens)
    }

    /// The fast way to ids, where there is one.
    fn fast(&self) -> Option<&ByteLevelBpe> {
        let find = || ByteLevelBpe::of(&self.inner, self.reserved.ids()).map(Arc::new);
        self.fast.get_or_init(find).as_deref()
    }

    /// Whether text is encoded without the `tokenizers` crate, many times faster and with the same ids: by a byte-level BPE
    /// whose words, normalization and added tokens are of kinds that are known here, such as GPT-2's, GPT-NeoX's, Llama 3's
    /// and those that are trained here.
    pub fn is_fast(&self) -> bool {
        self.fast().is_some()
    }

    /// The parts of a piece, each with the fast way to its ids where that is one.
    fn parts<'t>(&self, piece: &'t str) -> Vec<(&'t str, Option<&ByteLevelBpe>)> {
        let Some(fast) = self.fast() else {
            return vec![(piece, None)];
        };
        if fast.takes(piece) {
            return vec![(piece, Some(fast))];
        }
        let parts = self.pieces(piece, PART).into_iter();
        parts
            .map(|part| (part, fast.takes(part).then_some(fast)))
            .collect()
    }

    fn encode_fast(
        &self,
        fast: &ByteLevelBpe,
        text: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), DataError> {
        let otherwise = |word: &str| -> tokenizers::Result<Vec<u32>> {
            let model = self.inner.get_model();
            let tokens = self.reserved.tokenize(model, &self.json, word)?;
            Ok(tokens.into_iter().map(|token| token.id).collect())
        };
        fast.encode(text, ids, otherwise)
            .map_err(|e| self.fault(&e))
    }

    pub(super) fn encode_by_crate(&self, text: &str) -> Result<Tokens, DataError> {
        if self.token_bytes.is_some() {
            let encoding = self.encoding(text, OffsetType::None)?;
            return Ok(Tokens::plain(encoding.get_ids().to_vec()));
        }
        let encoding = self.encoding(text, OffsetType::Byte)?;
        let ends = encoding.get_offsets().iter().map(|(_, end)| *end);
        Ok(Tokens::ending(
            encoding.get_ids().to_vec(),
            ends,
            text.len(),
        ))
    }

    /// What the `tokenizers` crate does to a text, with our own eyes on each word.
    fn encoding(&self, text: &str, offsets: OffsetType) -> Result<Encoding, DataError> {
        let encode = || -> tokenizers::Result<Encoding> {
            let added = self.inner.get_added_vocabulary();
            let mut words = added.extract_and_normalize(self.inner.get_normalizer(), text);
            if let Some(part) = self.inner.get_pre_tokenizer() {
                part.pre_tokenize(&mut words)?;
            }
            let model = self.inner.get_model();
            words.tokenize(|word| self.reserved.tokenize(model, &self.json, word.get()))?;
            words.into_encoding(None, 0, offsets)
        };
        encode().map_err(|e| self.fault(&e))
    }
}
