//! Small file helpers: folders, locks, reading at an offset.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::DataError;

pub(crate) fn create_folder(path: &Path) -> Result<(), DataError> {
    fs::create_dir_all(path).map_err(|e| DataError::io("create", path, e))
}

/// Waits until no other process works in this folder. Dropping the file unlocks it.
pub(crate) fn lock(folder: &Path) -> Result<File, DataError> {
    let (path, file) = lock_file(folder)?;
    match file.lock() {
        Ok(()) => Ok(file),
        // Some network file systems have no locks. What two processes do at once is then done twice.
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(e) => Err(DataError::io("lock", &path, e)),
    }
}

fn lock_file(folder: &Path) -> Result<(PathBuf, File), DataError> {
    let path = folder.join("lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|e| DataError::io("create", &path, e))?;
    Ok((path, file))
}

/// The lock of a folder that no other process works in; nothing where one does. Dropping the file unlocks it.
pub(crate) fn try_lock(folder: &Path) -> Result<Option<File>, DataError> {
    let (path, file) = lock_file(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(Some(file)),
        Err(TryLockError::Error(e)) => Err(DataError::io("lock", &path, e)),
    }
}

/// Fills `buffer` from byte `offset`; several threads may do so on one file.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from byte `offset`; several threads may do so on one file.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}
