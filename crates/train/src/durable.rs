//! Files and folders of runs: written so that a kill leaves either the old or the new, and listed.

use std::fs;
use std::path::Path;

pub(crate) use evenburn_files::{rename, replace, sync_file, sync_folder, write};

use crate::error::TrainError;

/// The entries of a folder whose names satisfy `keep`, sorted.
pub(crate) fn entries(path: &Path, keep: impl Fn(&str) -> bool) -> Result<Vec<String>, TrainError> {
    let listing = match fs::read_dir(path) {
        Ok(listing) => listing,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(TrainError::io("list", path, e)),
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|e| TrainError::io("list", path, e))?;
        if let Ok(name) = entry.file_name().into_string()
            && keep(&name)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
