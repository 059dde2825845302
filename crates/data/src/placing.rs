//! Which split a document belongs to.

use serde::{Deserialize, Serialize};

use crate::decode::{BadRecords, Document};
use crate::layout::SourceRole;
use crate::split::{Split, Tag};
use crate::xxh3;

/// Where the documents of a source went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Documents for training.
    pub train: u64,
    /// Documents for validation.
    pub validation: u64,
    /// Those of both whose own field chose the split.
    pub by_field: u64,
    /// Those of both whose own field says another split than that of their file, which counts.
    #[serde(default)]
    pub overruled: u64,
    /// Documents left out because their own field says `test`.
    pub test: u64,
    /// Documents without text, left out.
    pub empty: u64,
    /// Records left out because they can't be used, where `data.on_bad_record` says so.
    #[serde(default, skip_serializing_if = "BadRecords::is_empty")]
    pub bad: BadRecords,
    /// Why the source is no text, where it isn't.
    pub unreadable: Option<String>,
}

/// Places the documents of one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placing {
    role: SourceRole,
    fraction: f64,
}

impl Placing {
    pub(crate) fn new(role: SourceRole, fraction: f64) -> Self {
        Self { role, fraction }
    }

    /// The document's split, which is counted; `None` for test documents and empty ones.
    ///
    /// In a mixed source its tag decides, or else the hash of its text: equal documents always land
    /// on the same side, and adding documents moves none.
    pub(crate) fn split(self, document: &Document, tally: &mut Tally) -> Option<Split> {
        if document.text.is_empty() {
            tally.empty += 1;
            return None;
        }
        let split = match (self.role, document.tag) {
            (SourceRole::Train, tag) => {
                tally.overruled += u64::from(tag.is_some_and(|t| t != Tag::Train));
                Split::Train
            }
            (SourceRole::Validation, tag) => {
                let other = tag.is_some_and(|t| t != Tag::Validation);
                tally.overruled += u64::from(other);
                Split::Validation
            }
            (SourceRole::Mixed, Some(Tag::Test)) => {
                tally.test += 1;
                return None;
            }
            (SourceRole::Mixed, Some(Tag::Train)) => {
                tally.by_field += 1;
                Split::Train
            }
            (SourceRole::Mixed, Some(Tag::Validation)) => {
                tally.by_field += 1;
                Split::Validation
            }
            (SourceRole::Mixed, None) => {
                // The upper 53 bits, as a number in [0, 1) that f64 holds exactly.
                let hash = xxh3::number(document.text.as_bytes()) >> 11;
                let unit = hash as f64 / (1u64 << 53) as f64;
                if unit < self.fraction {
                    Split::Validation
                } else {
                    Split::Train
                }
            }
        };
        match split {
            Split::Train => tally.train += 1,
            Split::Validation => tally.validation += 1,
        }
        Some(split)
    }
}
