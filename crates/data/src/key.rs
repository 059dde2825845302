//! Hashes that say which text and which settings something was made from.

use evenburn_files::{Sha256, hex};

use crate::manifest::FORMAT_VERSION;

/// Hashes values with their lengths, so that no two lists of values give the same bytes.
pub(crate) struct Key(Sha256);

impl Key {
    pub(crate) fn new(purpose: &str) -> Self {
        let mut key = Self(Sha256::default());
        key.add(purpose);
        key.add(&FORMAT_VERSION.to_string());
        key
    }

    pub(crate) fn add(&mut self, value: &str) {
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value.as_bytes());
    }

    /// All of it, in hexadecimal.
    pub(crate) fn finish(self) -> String {
        self.0.finish()
    }

    /// As much as names of files have.
    pub(crate) fn short(self) -> String {
        hex(&self.0.bytes()[..10])
    }
}
