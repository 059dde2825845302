//! Writing so that a kill or a power cut leaves either the old or the new, never half of it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::TrainError;

/// Writes a new file and waits until it is on disk.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let mut file = File::create_new(path).map_err(|e| TrainError::io("create", path, e))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|e| TrainError::io("write", path, e))
}

/// Puts a file in the place of another one in a single step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.new"));
    match fs::remove_file(&aside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(TrainError::io("remove", &aside, e));
        }
        _ => {}
    }
    write(&aside, bytes)?;
    rename(&aside, path)
}

/// Renames within one folder, and waits until the new name is on disk.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), TrainError> {
    fs::rename(from, to).map_err(|e| TrainError::io("rename", from, e))?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// Waits until the entries of a folder are on disk.
pub(crate) fn sync_folder(path: &Path) -> Result<(), TrainError> {
    // Windows can't open folders; its renames are journaled.
    if cfg!(windows) {
        return Ok(());
    }
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| TrainError::io("sync", path, e))
}

/// Waits until a file that something else wrote is on disk.
pub(crate) fn sync_file(path: &Path) -> Result<(), TrainError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| TrainError::io("sync", path, e))
}

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
