//! Which split a document belongs to.

use xxhash_rust::xxh3::xxh3_64;

use crate::decode::Document;
use crate::layout::{Role, Split, Tag};

/// Places the documents of one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placing {
    role: Role,
    fraction: f64,
}

impl Placing {
    pub(crate) fn new(role: Role, fraction: f64) -> Self {
        Self { role, fraction }
    }

    /// The document's split; `None` for test documents and empty ones.
    ///
    /// In a mixed source its tag decides, or else the hash of its text: equal documents always land
    /// on the same side, and adding documents moves none.
    pub(crate) fn split(self, document: &Document) -> Option<Split> {
        if document.text.is_empty() {
            return None;
        }
        match (self.role, document.tag) {
            (Role::Train, _) => Some(Split::Train),
            (Role::Validation, _) => Some(Split::Validation),
            (Role::Mixed, Some(Tag::Test)) => None,
            (Role::Mixed, Some(Tag::Split(split))) => Some(split),
            (Role::Mixed, None) => {
                // The upper 53 bits, as a number in [0, 1) that f64 holds exactly.
                let hash = xxh3_64(document.text.as_bytes()) >> 11;
                let unit = hash as f64 / (1u64 << 53) as f64;
                Some(if unit < self.fraction {
                    Split::Validation
                } else {
                    Split::Train
                })
            }
        }
    }
}
