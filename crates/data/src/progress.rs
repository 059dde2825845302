//! How far preparing the data has come.

use std::ops::ControlFlow;

/// What is being done to the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Files that lie elsewhere are brought onto this machine.
    Fetching,
    /// Their contents are hashed, to know whether the cache has their tokens.
    Hashing,
    /// They are read, and their words counted, to learn a tokenizer.
    TrainingTokenizer,
    /// A tokenizer's merges are computed from the words that were read. How long it takes is not
    /// known before.
    Merging,
    /// They are turned into tokens.
    Tokenizing,
    /// Those of a stream are read for the validation text that evaluations need.
    Validation,
}

/// A snapshot of [`prepare`](crate::prepare)'s work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressState {
    /// What is being done.
    pub phase: Phase,
    /// The source at hand; empty while merging.
    pub source: String,
    /// Stored bytes dealt with in this phase, those found in the cache included.
    pub bytes_done: u64,
    /// Stored bytes of all sources of this phase.
    pub bytes_total: u64,
    /// Documents processed by this call (none of those found in the cache).
    pub documents: u64,
    /// Tokens produced by this call (none of those found in the cache).
    pub tokens: u64,
}

/// A callback that is told how far [`prepare`](crate::prepare) has come, and may stop it.
///
/// `()` hears nothing. A closure `Fn(&ProgressState) -> ControlFlow<()>` is one too.
pub trait Progress: Send + Sync {
    /// Called some times a second. `Break` makes `prepare` return
    /// [`DataError::Interrupted`](crate::DataError::Interrupted); finished shards are kept.
    fn report(&self, state: &ProgressState) -> ControlFlow<()>;
}

impl Progress for () {
    fn report(&self, _: &ProgressState) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: Fn(&ProgressState) -> ControlFlow<()> + Send + Sync> Progress for F {
    fn report(&self, state: &ProgressState) -> ControlFlow<()> {
        self(state)
    }
}
