//! A question to a model, as text and as tokens.

use serde::{Deserialize, Serialize};

use crate::EvalError;

/// How likely is a continuation after a context?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The number of the context among those of its document.
    pub context: usize,
    /// The text that is scored, with the space before it.
    pub continuation: String,
}

/// How likely is a tail of tokens after a head? Nothing is cut: a model that takes `n` tokens is given the last
/// `n + 1` of both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenRequest {
    /// The tokens before, at least one.
    pub head: Vec<u32>,
    /// The tokens that are scored, at least one.
    pub tail: Vec<u32>,
}

impl TokenRequest {
    /// Whether a model that takes `length` tokens doesn't see all of the head.
    pub fn is_cut(&self, length: usize) -> bool {
        self.head.len() + self.tail.len() > length + 1
    }

    /// Checks that a model that takes `length` tokens sees at least one token before the tail.
    ///
    /// # Errors
    /// [`RequestFault::TooLong`] where it doesn't.
    pub fn check_length(&self, length: usize) -> Result<(), RequestFault> {
        if self.tail.len() > length {
            return Err(RequestFault::TooLong {
                tokens: self.tail.len(),
                length,
            });
        }
        Ok(())
    }
}

/// Why a context and a continuation are no question to a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestFault {
    /// The context consists of white space, which belongs to the continuation.
    #[error("the context has no tokens: it is white space alone")]
    EmptyHead,
    /// Nothing is left to be scored.
    #[error(
        "the continuation has no tokens of its own: it is empty, or the context's tokens and its own grow together"
    )]
    EmptyTail,
    /// The continuation leaves no room for a token before it.
    #[error("the continuation has {tokens} tokens, more than the {length} that the model takes")]
    TooLong {
        /// Tokens of the continuation.
        tokens: usize,
        /// Tokens that the model takes.
        length: usize,
    },
    /// The tokenizer fails.
    #[error(transparent)]
    Tokenizer(Box<EvalError>),
}
