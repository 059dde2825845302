//! The kinds of places that text may lie in: one entry of [`OPENERS`] each.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use super::local::LocalFiles;
use super::{Found, Listing};
use crate::DataError;
use crate::source::Source;

/// A kind of place: it lists what an entry of `data.path` names there, and opens what it listed.
pub(super) trait SourceOpener: Debug + Sync {
    /// Whether an entry names such a place.
    fn opens(&self, entry: &str) -> bool;

    /// The files that an entry of the key `key` names, each once; what is left out goes into the listing.
    ///
    /// # Errors
    /// An entry that names nothing, and what the place answers.
    fn list(
        &self,
        entry: &str,
        key: &'static str,
        listing: &mut Listing,
    ) -> Result<Vec<Found>, DataError>;

    /// A file that was listed.
    ///
    /// # Errors
    /// What the place answers.
    fn open(&self, name: &str, location: &Path) -> Result<Arc<dyn Source>, DataError>;
}

/// The first that takes an entry has it; the last takes all.
const OPENERS: [&dyn SourceOpener; 1] = [&LocalFiles];

/// Lists what an entry of the key `key` names.
pub(super) fn list(
    entry: &str,
    key: &'static str,
    listing: &mut Listing,
) -> Result<Vec<Found>, DataError> {
    match OPENERS.into_iter().find(|opener| opener.opens(entry)) {
        Some(opener) => opener.list(entry, key, listing),
        None => Err(DataError::NoTextPlace {
            key,
            path: entry.to_owned(),
        }),
    }
}
