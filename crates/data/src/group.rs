//! Groups of consecutive sources, known from a listing alone: those that may have training text are the shards of a stream.

use crate::layout::{PlacedSource, SourceRole};

/// Consecutive sources of one role.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) sources: Vec<PlacedSource>,
    /// Their stored size together.
    pub(crate) bytes: u64,
}

impl Group {
    /// The role of its sources.
    pub(crate) fn role(&self) -> SourceRole {
        self.sources
            .first()
            .map_or(SourceRole::Mixed, |placed| placed.role)
    }
}

/// Gathers consecutive sources of one role up to `limit` bytes; a larger source is alone.
pub(crate) fn groups(sources: Vec<PlacedSource>, limit: u64) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for placed in sources {
        let bytes = placed.source.size();
        match groups.last_mut() {
            Some(group)
                if group.role() == placed.role && group.bytes.saturating_add(bytes) <= limit =>
            {
                group.sources.push(placed);
                group.bytes += bytes;
            }
            _ => groups.push(Group {
                sources: vec![placed],
                bytes,
            }),
        }
    }
    groups
}
