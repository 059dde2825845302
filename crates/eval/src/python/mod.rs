//! What Python's strings and random numbers do and Rust's do otherwise.
//!
//! Benchmarks are defined by Python programs; a rule that is nearly the same changes tokens of a few documents.

mod capitalize;
mod random;
mod whitespace;

pub use capitalize::capitalize;
pub use random::Random;
pub use whitespace::{count_words, is_space, strip, strip_end, strip_start};
