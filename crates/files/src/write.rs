//! Single files: written, on disk, renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::FileError;

/// Where a file is written before it gets its name: beside it, with `.partial` behind the name.
///
/// ```
/// use std::path::Path;
/// assert_eq!(evenburn_files::aside(Path::new("a/b.bin")), Path::new("a/b.bin.partial"));
/// ```
pub fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// Writes a file that isn't there yet, and waits until it is on disk.
///
/// # Errors
/// [`FileError`], also where there is such a file.
pub fn write(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let mut file = File::create_new(path).map_err(FileError::at("create", path))?;
    file.write_all(contents)
        .and_then(|()| file.sync_all())
        .map_err(FileError::at("write", path))
}

/// Puts a file in its place in one step, whether one is there or not.
///
/// # Errors
/// [`FileError`]; the file that was there stays as it was.
pub fn replace(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let aside = aside(path);
    // What somebody who was killed left there.
    match fs::remove_file(&aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::at("remove", &aside)(e));
        }
        _ => write(&aside, contents)?,
    }
    rename(&aside, path)
}

/// Gives a file or a folder that is on disk another name in the same folder, and waits until that is on disk.
///
/// # Errors
/// [`FileError`].
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(FileError::at("rename", from))?;
    to.parent().map_or(Ok(()), sync_folder)
}

/// Waits until the entries of a folder are on disk; the empty path is the current folder.
///
/// # Errors
/// [`FileError`].
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    // Windows can't open folders; its renames are journaled.
    if cfg!(windows) {
        return Ok(());
    }
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    sync_file(path)
}

/// Waits until a file that something else wrote is on disk.
///
/// # Errors
/// [`FileError`].
pub fn sync_file(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(FileError::at("sync", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whatever_was_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        fs::write(aside(&path), "half").unwrap();
        for text in ["first", "second"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert!(!aside(&path).exists());
    }

    #[test]
    fn a_file_that_is_there_is_not_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one").unwrap();
        let error = write(&path, b"two").unwrap_err();
        assert_eq!(error.action, "create");
        assert_eq!(error.path, path);
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn what_fails_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("no/such/file");
        let error = replace(&nowhere, b"").unwrap_err();
        assert_eq!(
            (error.action, &error.path),
            ("create", &aside(&nowhere)),
            "{error}"
        );
    }
}
