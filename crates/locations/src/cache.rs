//! Whole files on this machine's disk, checked before anybody sees them.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::LocationError;
use crate::digest::Check;
use crate::file::{ContentId, StoredFile};
use crate::remote::{RemoteFile, Sink};
use crate::retry::{FAILURES, backoff};
use crate::validator::Proof;

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

/// Whether a file is on the disk, as far as its size tells.
pub(crate) fn is_here(file: &RemoteFile) -> bool {
    let slot = file.remote.slot(&file.path, &file.id);
    fs::metadata(&slot.blob).is_ok_and(|meta| meta.len() == file.size)
}

/// Removes a file from the disk, unless somebody fetches it.
pub(crate) fn release(file: &RemoteFile) -> Result<bool, LocationError> {
    let slot = file.remote.slot(&file.path, &file.id);
    if slot.offline {
        return Ok(false);
    }
    // Without a lock nobody has ever written it, or the file system has none.
    let lock = OpenOptions::new().append(true).open(&slot.lock).ok();
    if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
        return Ok(false);
    }
    let mut verified = file
        .shared
        .verified
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    verified.remove(&slot.blob);
    drop(verified);
    // The name first: a link to nothing would be a file that is missing.
    let partial = beside(&slot.blob, INCOMPLETE);
    for path in slot.name.iter().chain([&slot.blob, &partial]) {
        remove(path)?;
    }
    Ok(true)
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> Result<(), LocationError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(LocationError::disk("remove", path, &e))
        }
        _ => Ok(()),
    }
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
    let lock = if slot.offline { None } else { lock(&slot)? };
    // Another thread may have fetched it meanwhile.
    if known() {
        return Ok(slot.blob);
    }
    if !is_whole(file, &slot)? {
        if slot.offline {
            let why = "it isn't in the cache, and HF_HUB_OFFLINE forbids to fetch it";
            return Err(LocationError::unavailable(&file.location(), why));
        }
        download(file, &slot, lock.as_ref())?;
    }
    let mut verified = shared
        .verified
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    verified.insert(slot.blob.clone());
    drop(verified);
    if file.id == ContentId::Unknown {
        shared.passing.keep(&slot.blob);
    }
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
    fn proof(&self) -> Proof {
        if self.remote.id.is_digest() {
            Proof::Digest
        } else {
            Proof::Condition
        }
    }

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

/// Fetches a file into its blob. Without a lock others may do the same, so nobody writes to what another has begun.
fn download(file: &RemoteFile, slot: &Slot, lock: Option<&File>) -> Result<(), LocationError> {
    let path = match lock {
        Some(_) => beside(&slot.blob, INCOMPLETE),
        None => own_name(&slot.blob),
    };
    let fetched = download_to(&path, file, slot);
    if lock.is_none() && fetched.is_err() {
        // Nobody would complete it.
        let _ = fs::remove_file(&path);
    }
    fetched
}

/// What is added to the name of a blob of which not all bytes are there.
pub(crate) const INCOMPLETE: &str = ".incomplete";

/// A name that no other process or thread writes to.
fn own_name(blob: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    beside(blob, &format!(".{}.{number}{INCOMPLETE}", process::id()))
}

fn download_to(path: &Path, file: &RemoteFile, slot: &Slot) -> Result<(), LocationError> {
    let fault = |e: io::Error| LocationError::disk("write", path, &e);
    if let Some(folder) = path.parent() {
        create(folder)?;
    }
    let mut failures = 0;
    loop {
        let out = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(fault)?;
        let mut have = out.metadata().map_err(fault)?.len();
        if have > file.size || !slot.is_content || failures > 0 {
            out.set_len(0).map_err(fault)?;
            have = 0;
        }
        let mut check = Check::new(&file.id, file.size);
        if have > 0 {
            check
                .read(File::open(path).map_err(fault)?)
                .map_err(fault)?;
        }
        let mut partial = Partial {
            file: out,
            path,
            check,
            remote: file,
        };
        let copied = file.copy(&(0..file.size), have, &mut partial);
        if let Err(error) = copied {
            if matches!(error, LocationError::Changed { .. }) {
                // What came is of contents that are gone.
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
        partial.file.sync_data().map_err(fault)?;
        if partial.check.passes() {
            if !is_still(&partial.file, path, file.size) {
                let why =
                    "another program removed it or wrote to it while it was fetched; run again";
                return Err(LocationError::unavailable(&path.display().to_string(), why));
            }
            return fs::rename(path, &slot.blob).map_err(fault);
        }
        failures += 1;
        if failures >= FAILURES {
            let _ = fs::remove_file(path);
            let why = format!(
                "the bytes are not those of the listing ({}), in {failures} downloads; the storage or a proxy in between has damaged them",
                file.id
            );
            return Err(LocationError::corrupt(&file.location(), why));
        }
        file.shared.clock.sleep(backoff(failures));
    }
}

/// Whether a path leads to the file that was written, with as many bytes as should be there.
fn is_still(written: &File, path: &Path, size: u64) -> bool {
    let Ok((written, there)) = written
        .metadata()
        .and_then(|written| Ok((written, fs::metadata(path)?)))
    else {
        return false;
    };
    there.len() == size && is_same(&written, &there)
}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// A file that is open can't be replaced there.
#[cfg(not(unix))]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    one.len() == other.len()
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

/// Waits until nobody else writes the blob. `huggingface_hub` takes the same lock. Some network file systems have none.
fn lock(slot: &Slot) -> Result<Option<File>, LocationError> {
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
        Ok(()) => Ok(Some(file)),
        // What two processes do at once is then done twice.
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
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
    fn a_file_that_was_replaced_is_not_the_one_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"four").unwrap();
        assert!(is_still(&file, &path, 4));
        assert!(!is_still(&file, &path, 5));
        if cfg!(unix) {
            fs::remove_file(&path).unwrap();
            assert!(!is_still(&file, &path, 4));
            fs::write(&path, "four").unwrap();
            assert!(!is_still(&file, &path, 4));
        }
        assert_ne!(own_name(&path), own_name(&path));
    }

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
