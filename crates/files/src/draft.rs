//! Folders: filled aside, renamed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use crate::FileError;
use crate::write::{rename, sync_file, sync_folder};

/// A folder that appears under its name complete or not at all: it is filled beside its place, hidden, and removed when it
/// is dropped before it is finished.
///
/// ```
/// # let parent = std::env::temp_dir().join(format!("evenburn-draft-{}", std::process::id()));
/// # let place = parent.join("made");
/// let draft = evenburn_files::Draft::begin(&place)?;
/// std::fs::write(draft.path().join("a.txt"), "whole").unwrap();
/// draft.finish()?;
/// assert!(place.join("a.txt").is_file());
/// # std::fs::remove_dir_all(&parent).unwrap();
/// # Ok::<(), evenburn_files::FileError>(())
/// ```
#[derive(Debug)]
pub struct Draft {
    aside: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// Makes the folder aside, and the parents of `place` where they are missing.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn begin(place: &Path) -> Result<Self, FileError> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        // Two processes may make the same folder at once.
        let aside = place.with_file_name(format!(".{name}.new-{}", process::id()));
        fs::create_dir_all(&aside).map_err(FileError::at("create", &aside))?;
        Ok(Self {
            aside,
            place: place.to_owned(),
        })
    }

    /// Where the files are to be written.
    pub fn path(&self) -> &Path {
        &self.aside
    }

    /// Moves the folder to its place, where at most an empty one may stand, once everything in it is on disk.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn finish(self) -> Result<(), FileError> {
        sync_all(&self.aside)?;
        // On some systems a rename doesn't replace an empty folder; one that isn't empty stays.
        if self.place.is_dir() {
            fs::remove_dir(&self.place).map_err(FileError::at("replace", &self.place))?;
        }
        rename(&self.aside, &self.place)
    }
}

/// Waits until the files and folders in a folder are on disk.
fn sync_all(folder: &Path) -> Result<(), FileError> {
    let read = || FileError::at("read", folder);
    for entry in fs::read_dir(folder).map_err(read())? {
        let entry = entry.map_err(read())?;
        let kind = entry.file_type().map_err(read())?;
        if kind.is_dir() {
            sync_all(&entry.path())?;
        } else if kind.is_file() {
            sync_file(&entry.path())?;
        }
    }
    sync_folder(folder)
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Only what was not finished is still there.
        let _ = fs::remove_dir_all(&self.aside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_when_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/made");
        let draft = Draft::begin(&place).unwrap();
        fs::write(draft.path().join("a"), "whole").unwrap();
        fs::create_dir(draft.path().join("below")).unwrap();
        fs::write(draft.path().join("below/b"), "too").unwrap();
        assert!(!place.exists());
        fs::create_dir(&place).unwrap();
        draft.finish().unwrap();
        assert_eq!(fs::read(place.join("a")).unwrap(), b"whole");
        assert_eq!(fs::read(place.join("below/b")).unwrap(), b"too");
        let left = fs::read_dir(place.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing stays beside it");
    }

    #[test]
    fn one_that_is_dropped_leaves_nothing_and_one_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("made");
        drop(Draft::begin(&place).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::create_dir(&place).unwrap();
        fs::write(place.join("kept"), "").unwrap();
        assert!(Draft::begin(&place).unwrap().finish().is_err());
        assert!(place.join("kept").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
