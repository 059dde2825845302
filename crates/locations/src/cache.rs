//! Whole files on this machine's disk, checked before anybody sees them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use crate::LocationError;
use crate::digest::Check;
use crate::file::StoredFile;
use crate::remote::{RemoteFile, Sink};
use crate::retry::{FAILURES, backoff};

/// Where a file's bytes are kept.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// The bytes, under a name that says which.
    pub(crate) blob: PathBuf,
    /// Whoever holds it writes the blob.
    pub(crate) lock: PathBuf,
    /// A second name, by which people and other programs know the file.
    pub(crate) name: Option<PathBuf>,
    /// Whether the blob's name says which contents it has, so that a part of it can be completed by another process.
    pub(crate) is_content: bool,
    /// Whether nothing may be fetched.
    pub(crate) offline: bool,
}

/// Makes sure that a file is on the disk, and returns its path.
pub(crate) fn fetch(file: &RemoteFile) -> Result<PathBuf, LocationError> {
    let slot = file.remote.slot(&file.path, &file.id);
    let shared = &file.shared;
    let known = || {
        let verified = shared
            .verified
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        verified.contains(&slot.blob)
            && fs::metadata(&slot.blob).is_ok_and(|meta| meta.len() == file.size)
    };
    if known() {
        return Ok(slot.blob);
    }
    let _lock = if slot.offline {
        None
    } else {
        Some(lock(&slot)?)
    };
    if !is_whole(file, &slot)? {
        if slot.offline {
            let why = "it isn't in the cache, and HF_HUB_OFFLINE forbids to fetch it";
            return Err(LocationError::unavailable(&file.location(), why));
        }
        download(file, &slot)?;
    }
    let mut verified = shared
        .verified
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    verified.insert(slot.blob.clone());
    drop(verified);
    if let Some(name) = slot.name.as_ref().filter(|_| !slot.offline) {
        link(name, &slot.blob)?;
    }
    Ok(slot.blob)
}

/// Whether the bytes are there. Those that another program has left are checked too: some don't.
fn is_whole(file: &RemoteFile, slot: &Slot) -> Result<bool, LocationError> {
    let fault = |e: io::Error| LocationError::disk("read", &slot.blob, &e);
    match fs::metadata(&slot.blob) {
        Ok(meta) if meta.len() == file.size => {}
        Ok(_) => return Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(fault(e)),
    }
    let mut check = Check::new(&file.id, file.size);
    check
        .read(File::open(&slot.blob).map_err(fault)?)
        .map_err(fault)?;
    Ok(check.passes())
}

/// The file that bytes are written to until all are there.
struct Partial<'a> {
    file: File,
    path: &'a Path,
    check: Check,
    remote: &'a RemoteFile,
}

impl Sink for Partial<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), LocationError> {
        self.check.update(bytes);
        let written = self.file.write_all(bytes);
        written.map_err(|e| LocationError::disk("write", self.path, &e))
    }

    fn restart(&mut self) -> Result<(), LocationError> {
        self.check = Check::new(&self.remote.id, self.remote.size);
        let emptied = self.file.set_len(0);
        emptied.map_err(|e| LocationError::disk("write", self.path, &e))
    }
}

fn download(file: &RemoteFile, slot: &Slot) -> Result<(), LocationError> {
    let path = beside(&slot.blob, ".incomplete");
    let fault = |e: io::Error| LocationError::disk("write", &path, &e);
    if let Some(folder) = path.parent() {
        create(folder)?;
    }
    let mut failures = 0;
    loop {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .map_err(fault)?;
        let mut have = out.metadata().map_err(fault)?.len();
        if have > file.size || !slot.is_content || failures > 0 {
            out.set_len(0).map_err(fault)?;
            have = 0;
        }
        let mut check = Check::new(&file.id, file.size);
        if have > 0 {
            check
                .read(File::open(&path).map_err(fault)?)
                .map_err(fault)?;
        }
        let mut partial = Partial {
            file: out,
            path: &path,
            check,
            remote: file,
        };
        let copied = file.copy(&(0..file.size), have, &mut partial);
        if let Err(error) = copied {
            if matches!(error, LocationError::Changed { .. }) {
                // What came is of contents that are gone.
                let _ = fs::remove_file(&path);
            }
            return Err(error);
        }
        partial.file.sync_data().map_err(fault)?;
        if partial.check.passes() {
            return fs::rename(&path, &slot.blob).map_err(fault);
        }
        failures += 1;
        if failures >= FAILURES {
            let _ = fs::remove_file(&path);
            let why = format!(
                "the bytes are not those of the listing ({}), in {failures} downloads; the storage or a proxy in between has damaged them",
                file.id
            );
            return Err(LocationError::corrupt(&file.location(), why));
        }
        file.shared.clock.sleep(backoff(failures));
    }
}

/// A name beside a file's.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

pub(crate) fn create(folder: &Path) -> Result<(), LocationError> {
    fs::create_dir_all(folder).map_err(|e| LocationError::disk("create", folder, &e))
}

/// Waits until nobody else writes the blob. `huggingface_hub` takes the same lock.
fn lock(slot: &Slot) -> Result<File, LocationError> {
    if let Some(folder) = slot.lock.parent() {
        create(folder)?;
    }
    let fault = |e: io::Error| LocationError::disk("lock", &slot.lock, &e);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&slot.lock)
        .map_err(fault)?;
    match file.lock() {
        Ok(()) => Ok(file),
        // Some network file systems have no locks. What two processes do at once is then done twice.
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(e) => Err(fault(e)),
    }
}

/// Writes a small file so that it appears complete or not at all.
pub(crate) fn write(path: &Path, contents: &str) -> Result<(), LocationError> {
    if let Some(folder) = path.parent() {
        create(folder)?;
    }
    evenburn_files::replace(path, contents.as_bytes())
        .map_err(|e| LocationError::disk(e.action, &e.path, &e.source))
}

/// Gives a blob its second name: a relative link, as `huggingface_hub` makes it, or a copy where there are no links.
fn link(name: &Path, blob: &Path) -> Result<(), LocationError> {
    let fault = |e: io::Error| LocationError::disk("link", name, &e);
    let same = |name: &Path| {
        let name = name.canonicalize();
        name.is_ok_and(|name| blob.canonicalize().is_ok_and(|blob| blob == name))
    };
    if same(name) {
        return Ok(());
    }
    let folder = name.parent().unwrap_or(Path::new("."));
    create(folder)?;
    let _ = fs::remove_file(name);
    let made = make_link(&relative(folder, blob), blob, name);
    match made {
        // Another process was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(fault),
    }
}

#[cfg(unix)]
fn make_link(relative: &Path, _: &Path, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(relative, name)
}

#[cfg(not(unix))]
fn make_link(_: &Path, blob: &Path, name: &Path) -> io::Result<()> {
    fs::hard_link(blob, name).or_else(|_| fs::copy(blob, name).map(|_| ()))
}

/// The way from a folder to a file.
fn relative(folder: &Path, file: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (folder.components().collect(), file.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = from[common..].iter().map(|_| "..".as_ref());
    up.chain(to[common..].iter().map(|part| part.as_os_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_between_paths() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        let blob = "/c/datasets--a--b/blobs/x";
        assert_eq!(
            way("/c/datasets--a--b/snapshots/1/train", blob),
            Path::new("../../../blobs/x")
        );
        assert_eq!(
            way("/c/datasets--a--b/snapshots/1", blob),
            Path::new("../../blobs/x")
        );
    }
}
