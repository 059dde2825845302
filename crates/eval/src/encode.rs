//! From a context and a continuation to tokens.

use evenburn_data::Tokenizer;
use tokenizers::AddedToken;

use crate::python::strip_end;
use crate::{EvalError, RequestFault, TokenRequest};

/// Text to tokens, as a benchmark has them.
pub trait Encoder: Sync {
    /// The tokens of a text; after the token that begins a text, where a model was trained with one before every text
    /// that it is asked about.
    ///
    /// # Errors
    /// The tokenizer has no token for a part of the text.
    fn encode(&self, text: &str) -> Result<Vec<u32>, EvalError>;

    /// The tokens of a text and nothing else.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    fn encode_bare(&self, text: &str) -> Result<Vec<u32>, EvalError>;

    /// The token that stands before a text without a context: that which begins a text, or the one that ends it.
    fn prefix(&self) -> u32;
}

/// The [`Encoder`] of a [`Tokenizer`]. Unlike that one it reads the names of special tokens in a text as special
/// tokens, as the harness does.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    /// Reads special tokens.
    inner: tokenizers::Tokenizer,
    /// Reads none, many times faster: for texts without any.
    fast: Option<Tokenizer>,
    /// The names of special tokens.
    special: Vec<String>,
    prefix: u32,
    /// The name of the token before a text.
    prefix_text: String,
    adds_bos: bool,
}

impl TextEncoder {
    /// An encoder with the tokens of a tokenizer. Nothing is put before a text, unless [`with_bos`](Self::with_bos)
    /// says so.
    ///
    /// # Errors
    /// The tokens between texts can't be made special ones.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, EvalError> {
        let mut inner = tokenizer.inner().clone();
        inner.set_encode_special_tokens(false);
        // Whatever the file says of them, the tokens between texts are special ones.
        for id in [Some(tokenizer.eod()), tokenizer.bos()]
            .into_iter()
            .flatten()
        {
            let known = inner.get_added_tokens_decoder().contains_key(&id);
            if let Some(name) = inner.id_to_token(id).filter(|_| !known) {
                let added = inner.add_special_tokens([AddedToken::from(name, true)]);
                added.map_err(|e| EvalError::Tokenizer {
                    message: e.to_string(),
                })?;
            }
        }
        let added = inner.get_added_tokens_decoder();
        let special: Vec<_> = added.values().filter(|token| token.special).collect();
        // Whether a text has one of them can be seen before it is normalized.
        let seen = special.iter().all(|token| !token.normalized);
        let fast = (seen && tokenizer.is_fast()).then(|| tokenizer.clone());
        let special = special.iter().map(|token| token.content.clone()).collect();
        let prefix = tokenizer.bos().unwrap_or(tokenizer.eod());
        let prefix_text = inner.id_to_token(prefix).unwrap_or_default();
        Ok(Self {
            inner,
            fast,
            special,
            prefix,
            prefix_text,
            adds_bos: false,
        })
    }

    /// Whether the token that begins a text is put before every text that doesn't begin with its name, as the harness
    /// does with `add_bos_token`.
    pub fn with_bos(mut self, adds: bool) -> Self {
        self.adds_bos = adds;
        self
    }
}

impl Encoder for TextEncoder {
    fn encode(&self, text: &str) -> Result<Vec<u32>, EvalError> {
        let ids = self.encode_bare(text)?;
        if !self.adds_bos || text.starts_with(&self.prefix_text) {
            return Ok(ids);
        }
        Ok([&[self.prefix], &ids[..]].concat())
    }

    fn encode_bare(&self, text: &str) -> Result<Vec<u32>, EvalError> {
        match &self.fast {
            Some(fast) if !self.special.iter().any(|name| text.contains(name)) => {
                fast.encode(text).map_err(|e| EvalError::Tokenizer {
                    message: e.to_string(),
                })
            }
            _ => self.encode_by_crate(text),
        }
    }

    fn prefix(&self) -> u32 {
        self.prefix
    }
}

impl TextEncoder {
    /// The way that takes every text.
    fn encode_by_crate(&self, text: &str) -> Result<Vec<u32>, EvalError> {
        // Offsets are of no use here, and finding them takes longer than the rest.
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|e| EvalError::Tokenizer {
            message: e.to_string(),
        })?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The tokens of a context and of what follows it.
///
/// White space at the end of the context, as Python has it, belongs to what follows. Context and both together are
/// encoded, and the tail is what the second has more: head and tail together need not be the tokens of the whole,
/// where one of these crosses the border. Without a context, the [prefix](Encoder::prefix) is the head.
///
/// # Errors
/// Head or tail are empty, or the tokenizer fails.
pub fn encode_request(
    encoder: &dyn Encoder,
    context: &str,
    continuation: &str,
) -> Result<TokenRequest, RequestFault> {
    encode_after(encoder, context, continuation, &mut None)
}

/// [`encode_request`], which keeps the head of a context for the next continuation of the same one.
pub(crate) fn encode_after(
    encoder: &dyn Encoder,
    context: &str,
    continuation: &str,
    kept: &mut Option<Vec<u32>>,
) -> Result<TokenRequest, RequestFault> {
    let fault = |e| RequestFault::Tokenizer(Box::new(e));
    let (head, tail) = if context.is_empty() {
        let mut ids = encoder.encode_bare(continuation).map_err(fault)?;
        if ids.first() == Some(&encoder.prefix()) {
            let tail = ids.split_off(1);
            (ids, tail)
        } else {
            (vec![encoder.prefix()], ids)
        }
    } else {
        let head = if let Some(head) = kept {
            head.clone()
        } else {
            let head = encoder.encode(strip_end(context)).map_err(fault)?;
            kept.insert(head).clone()
        };
        let mut whole = encoder
            .encode(&[context, continuation].concat())
            .map_err(fault)?;
        let tail = whole.split_off(head.len().min(whole.len()));
        (head, tail)
    };
    if head.is_empty() {
        return Err(RequestFault::EmptyHead);
    }
    if tail.is_empty() {
        return Err(RequestFault::EmptyTail);
    }
    Ok(TokenRequest { head, tail })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn both_ways_lead_to_the_same_tokens() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
        let json = std::fs::read_to_string(folder.join("model/tokenizer.json")).unwrap();
        let tokenizer = Tokenizer::from_json(json, Path::new("tokenizer.json"), "<|endoftext|>");
        let encoder = TextEncoder::new(&tokenizer.unwrap()).unwrap();
        assert!(encoder.fast.is_some());
        let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
        let mut special = 0;
        for text in expected.lines().chain([
            "",
            "<|endoftext|>",
            "a<|endoftext|> b",
            "<|endoftext",
            " \u{85}",
        ]) {
            let ids = encoder.encode_bare(text).unwrap();
            assert_eq!(ids, encoder.encode_by_crate(text).unwrap(), "{text}");
            special += ids.iter().filter(|id| **id == encoder.prefix).count();
        }
        assert_eq!(special, 2);
    }

    /// A file may have the token between texts as a word like any other.
    #[test]
    fn the_token_between_texts_is_special() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
        let json = std::fs::read_to_string(folder.join("model/tokenizer.json")).unwrap();
        let mut file: serde_json::Value = serde_json::from_str(&json).unwrap();
        file["added_tokens"] = serde_json::json!([]);
        let tokenizer = Tokenizer::from_json(file.to_string(), Path::new("a"), "<|endoftext|>");
        let encoder = TextEncoder::new(&tokenizer.unwrap()).unwrap();
        let ids = encoder.encode_bare("a<|endoftext|>").unwrap();
        assert_eq!(ids, [65, 0]);
    }
}
