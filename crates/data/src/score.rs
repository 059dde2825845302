//! Losses in nats per token and bits per byte.

use std::ops::AddAssign;

use crate::Batch;

/// A summed loss over scored positions, and the bytes of text those positions stand for.
///
/// Only targets count: the bytes are those of exactly the tokens whose loss was summed
/// ([`Batch::bytes`]). So bits per byte compares models of different tokenizers on the text that was
/// really predicted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Sum of `-ln p(target)`.
    pub nats: f64,
    /// Number of scored targets.
    pub targets: u64,
    /// UTF-8 bytes of text that the scored targets stand for; none if that isn't known.
    pub bytes: Option<u64>,
}

/// Nothing scored yet.
impl Default for Score {
    fn default() -> Self {
        Self {
            nats: 0.0,
            targets: 0,
            bytes: Some(0),
        }
    }
}

impl Score {
    /// A model's summed loss over a batch.
    pub fn of_batch(nats: f64, batch: &Batch) -> Self {
        Self {
            nats,
            targets: batch.scored() as u64,
            bytes: batch.bytes,
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

    /// `nats / (ln 2 * bytes)`; none if the bytes aren't known or no target stands for any.
    ///
    /// ```
    /// use evenburn_data::Score;
    /// let score = Score { nats: 8.0 * std::f64::consts::LN_2, targets: 3, bytes: Some(4) };
    /// assert!((score.bits_per_byte().unwrap() - 2.0).abs() < 1e-12);
    /// assert_eq!(Score { bytes: None, ..score }.bits_per_byte(), None);
    /// ```
    pub fn bits_per_byte(&self) -> Option<f64> {
        let bytes = self.bytes.filter(|bytes| *bytes > 0)?;
        Some(self.nats / (std::f64::consts::LN_2 * bytes as f64))
    }
}

impl AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.nats += other.nats;
        self.targets += other.targets;
        self.bytes = self.bytes.zip(other.bytes).map(|(a, b)| a + b);
    }
}
