//! What is asked of a model.

use serde::{Deserialize, Serialize};

/// What a model says of a tail of tokens after a head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenScore {
    /// The natural logarithm of the tail's probability after the head.
    pub log_likelihood: f64,
    /// Whether every token of the tail is the likeliest one at its place, the first of equals.
    pub greedy: bool,
}
