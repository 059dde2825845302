//! Losses in nats per token and bits per byte.

use std::ops::AddAssign;

use crate::Batch;

/// A summed loss over scored positions, and the bytes of text those positions stand for.
///
/// Only targets count: the bytes are those of exactly the tokens whose loss was summed (see
/// [`Tokenizer::token_bytes`](crate::Tokenizer::token_bytes)), an end-of-document token being
/// scored but standing for 0 bytes. So bits per byte compares models of different tokenizers on the
/// text that was really predicted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Sum of `-ln p(target)`.
    pub nats: f64,
    /// Number of scored targets.
    pub targets: u64,
    /// UTF-8 bytes of the scored targets.
    pub bytes: u64,
}

impl Score {
    /// A model's summed loss over a batch. `token_bytes` is the tokenizer's table.
    pub fn of_batch(nats: f64, batch: &Batch, token_bytes: &[u32]) -> Self {
        Self {
            nats,
            targets: batch.scored() as u64,
            bytes: scored_bytes(batch, token_bytes),
        }
    }

    /// `nats / targets`; NaN if nothing was scored.
    pub fn nats_per_token(&self) -> f64 {
        self.nats / self.targets as f64
    }

    /// `exp` of the nats per token.
    pub fn perplexity(&self) -> f64 {
        self.nats_per_token().exp()
    }

    /// `nats / (ln 2 * bytes)`.
    ///
    /// ```
    /// use evenburn_data::Score;
    /// let score = Score { nats: 8.0 * std::f64::consts::LN_2, targets: 3, bytes: 4 };
    /// assert!((score.bits_per_byte() - 2.0).abs() < 1e-12);
    /// ```
    pub fn bits_per_byte(&self) -> f64 {
        self.nats / (std::f64::consts::LN_2 * self.bytes as f64)
    }
}

impl AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.nats += other.nats;
        self.targets += other.targets;
        self.bytes += other.bytes;
    }
}

/// UTF-8 bytes of a batch's targets, ignored ones left out.
pub fn scored_bytes(batch: &Batch, token_bytes: &[u32]) -> u64 {
    let scored = batch
        .targets
        .iter()
        .filter_map(|t| usize::try_from(*t).ok());
    scored
        .map(|t| u64::from(token_bytes.get(t).copied().unwrap_or(0)))
        .sum()
}
