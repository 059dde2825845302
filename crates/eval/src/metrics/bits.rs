//! Bits for a byte of text.

use std::f64::consts::LN_2;

/// How many bits a text takes for each of so many bytes.
pub(crate) fn bits_per_byte(log_likelihood: f64, bytes: usize) -> f64 {
    -log_likelihood / bytes as f64 / LN_2
}
