//! From a context and a continuation to tokens.

use evenburn_data::Tokenizer;

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
    inner: tokenizers::Tokenizer,
    prefix: u32,
    /// The name of the token before a text.
    prefix_text: String,
    adds_bos: bool,
}

impl TextEncoder {
    /// An encoder with the tokens of a tokenizer. Nothing is put before a text, unless [`with_bos`](Self::with_bos)
    /// says so.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let mut inner = tokenizer.inner().clone();
        inner.set_encode_special_tokens(false);
        let prefix = tokenizer.bos().unwrap_or(tokenizer.eod());
        let prefix_text = inner.id_to_token(prefix).unwrap_or_default();
        Self {
            inner,
            prefix,
            prefix_text,
            adds_bos: false,
        }
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
        // Offsets are of no use here, and finding them takes longer than the rest.
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|e| EvalError::Tokenizer {
            message: e.to_string(),
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    fn prefix(&self) -> u32 {
        self.prefix
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
        let head = match kept {
            Some(head) => head.clone(),
            None => {
                let head = encoder.encode(strip_end(context)).map_err(fault)?;
                kept.insert(head).clone()
            }
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
