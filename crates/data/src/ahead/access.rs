//! Files that stay on the disk as long as somebody reads them.

use std::sync::Arc;

use evenburn_locations::Storage;

use super::disk::{Brought, Disk, Fetch};
use super::shelf::{Item, Need};
use crate::layout::PlacedSource;
use crate::shard_text::Access;
use crate::source::Source;
use crate::{DataError, Progress, fetch};

/// A file that stays on the disk until this is dropped.
pub(crate) struct Hold<'a> {
    disk: &'a Disk,
    item: Option<Item>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if let Some(item) = &self.item {
            self.disk.let_go(item);
        }
    }
}

impl Disk {
    /// Keeps a source readable.
    fn hold(&self, source: &Arc<dyn Source>, fetch: &Fetch<'_>) -> Result<Hold<'_>, DataError> {
        let brought = self.bring(source, Need::Now, fetch)?;
        Ok(Hold {
            disk: self,
            item: match brought {
                Brought::Counted(item) => Some(item),
                Brought::Nothing | Brought::NoRoom => None,
            },
        })
    }
}

impl<'a> Access for &'a Disk {
    type Hold = Hold<'a>;

    fn hold(&self, placed: &PlacedSource) -> Result<Hold<'a>, DataError> {
        Disk::hold(self, &placed.source, &plainly)
    }
}

/// A disk whose user hears how far fetching is.
pub(crate) struct Watched<'a> {
    pub(crate) disk: &'a Disk,
    pub(crate) storage: &'a Storage,
    pub(crate) progress: &'a dyn Progress,
}

impl<'a> Access for Watched<'a> {
    type Hold = Hold<'a>;

    fn hold(&self, placed: &PlacedSource) -> Result<Hold<'a>, DataError> {
        self.disk.hold(&placed.source, &|source| {
            fetch(&[Arc::clone(source)], self.storage, self.progress)
        })
    }
}

pub(super) fn plainly(source: &Arc<dyn Source>) -> Result<(), DataError> {
    let fetched = source.fetch();
    fetched.map_err(|e| DataError::io("fetch", source.location(), e))
}
