//! The folders of all streams in a cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kept::KeptWindows;
use crate::{DataError, files};

/// What the names of the folders begin with.
pub(super) const PREFIX: &str = "stream-";

/// The folders of streams below a cache, and the bytes of the tokenized windows in each.
///
/// # Errors
/// The cache can't be listed.
pub fn kept_streams(cache: &Path) -> Result<Vec<(PathBuf, u64)>, DataError> {
    let entries = match fs::read_dir(cache) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| DataError::io("list", cache, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| DataError::io("list", cache, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) && path.is_dir() {
            let windows = KeptWindows::new(&path).list();
            let bytes = windows.iter().map(|(_, _, bytes, _)| bytes).sum();
            found.push((path, bytes));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the tokenized windows of all streams that nobody reads at the moment, and returns their bytes. What was written
/// down of fetched files stays, so that a stream that goes on still counts them.
///
/// # Errors
/// The cache can't be listed, or a window not be removed.
pub fn clear_streams(cache: &Path) -> Result<u64, DataError> {
    let mut removed = 0;
    for (path, _) in kept_streams(cache)? {
        let Some(_lock) = files::try_lock(&path)? else {
            continue;
        };
        let kept = KeptWindows::new(&path);
        for (shard, window, bytes, _) in kept.list() {
            let gone = kept.remove(shard, window);
            gone.map_err(|e| DataError::io("remove", &path, e))?;
            removed += bytes;
        }
    }
    Ok(removed)
}
