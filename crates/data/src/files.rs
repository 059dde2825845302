//! Small file helpers: writing aside and renaming, hashing, reading at an offset.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::DataError;

/// Where a file is written before it gets its name.
pub(crate) fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// Writes a file so that it appears complete or not at all.
pub(crate) fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), DataError> {
    let aside = aside(path);
    let mut file = File::create(&aside).map_err(|e| DataError::io("create", &aside, e))?;
    file.write_all(contents)
        .and_then(|()| file.sync_all())
        .map_err(|e| DataError::io("write", &aside, e))?;
    publish(&aside, path)
}

/// Renames a synced file to its final name, and syncs the folder so that the name lasts.
pub(crate) fn publish(aside: &Path, path: &Path) -> Result<(), DataError> {
    fs::rename(aside, path).map_err(|e| DataError::io("rename", aside, e))?;
    #[cfg(unix)]
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        File::open(folder)
            .and_then(|f| f.sync_all())
            .map_err(|e| DataError::io("sync", folder, e))?;
    }
    Ok(())
}

pub(crate) fn create_folder(path: &Path) -> Result<(), DataError> {
    fs::create_dir_all(path).map_err(|e| DataError::io("create", path, e))
}

/// Waits until no other process works in this folder. Dropping the file unlocks it.
pub(crate) fn lock(folder: &Path) -> Result<File, DataError> {
    let path = folder.join("lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|e| DataError::io("create", &path, e))?;
    match file.lock() {
        Ok(()) => Ok(file),
        // Some network file systems have no locks. What two processes do at once is then done twice.
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(e) => Err(DataError::io("lock", &path, e)),
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        // Writing to a string can't fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// The 64-bit XXH3 of a file's contents, in hexadecimal.
pub(crate) fn xxh3(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:016x}", hash.digest())),
            n => hash.update(&buffer[..n]),
        }
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
