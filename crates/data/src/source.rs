//! Where bytes come from: the seam between stored files and decoding.

use std::fmt::Debug;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;
#[cfg(unix)]
use std::time::{Duration, SystemTime};

use evenburn_locations::{ContentId, LocationError};

/// What a source opens to: Parquet seeks, the other formats only read.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// One stored file of documents. Local files are [`LocalFile`]; a hub or an HTTP server is another
/// implementation, and nothing after this trait changes for it.
pub trait Source: Debug + Send + Sync {
    /// Name that is the same on every machine: the path below the folder that was given, with `/`.
    /// Its ending selects the decoder.
    fn name(&self) -> &str;
    /// The full path or address, for messages.
    fn location(&self) -> &Path;
    /// Stored size in bytes.
    fn size(&self) -> u64;
    /// A cheap mark that changes when the contents do (when a file was changed, a revision), as it was when the source
    /// was listed; nothing where there is none to rely on.
    fn stamp(&self) -> Option<String>;
    /// Whether the contents are still those that were listed, as far as a cheap look can tell.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn is_unchanged(&self) -> io::Result<bool>;
    /// Opens an independent reader at the start.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn open(&self) -> io::Result<Box<dyn ReadSeek>>;
    /// What tells its contents from others, as the listing has it: nothing of a local file.
    fn id(&self) -> &ContentId {
        &ContentId::Unknown
    }
    /// Brings all of it onto this machine, checked where it has a digest. Does nothing for a file that is here, and for one
    /// that is read by ranges because of its size.
    ///
    /// # Errors
    /// Whatever the storage or the disk answers.
    fn fetch(&self) -> io::Result<()> {
        Ok(())
    }
    /// Whether it is on this machine, so that [`open`](Self::open) has to wait for nobody.
    fn is_here(&self) -> bool {
        true
    }
    /// Whether it is read where it lies, by ranges, because of its size: its digest isn't checked then.
    fn is_ranged(&self) -> bool {
        false
    }
    /// Removes what [`fetch`](Self::fetch) has brought; `false` where there is nothing to remove, or somebody fetches it at
    /// this moment. Not to be called for what was here before.
    ///
    /// # Errors
    /// What the disk answers.
    fn release(&self) -> io::Result<bool> {
        Ok(false)
    }
    /// Why its place didn't give its bytes, where what a decoder says is a consequence of that.
    fn failure(&self) -> Option<LocationError> {
        None
    }
}

/// A source on the local file system.
#[derive(Debug)]
pub struct LocalFile {
    name: String,
    path: PathBuf,
    size: u64,
    mark: String,
    /// Whether the mark was old enough to be relied on when the file was listed.
    settled: bool,
}

impl LocalFile {
    /// Looks the file up. `name` is what the manifest calls it.
    ///
    /// # Errors
    /// The system's answer when its metadata can't be read.
    pub fn new(name: String, path: PathBuf) -> io::Result<Self> {
        let meta = fs::metadata(&path)?;
        Ok(Self {
            name,
            path,
            size: meta.len(),
            mark: mark(&meta),
            settled: is_settled(&meta),
        })
    }
}

/// How long ago a file must have been changed for its stamp to be relied on. File systems keep times in steps (two
/// seconds on FAT, some milliseconds on others): within one step, a second change leaves no trace.
#[cfg(unix)]
const SETTLED: Duration = Duration::from_secs(3);

/// The file itself and the time of its last change. Programs set the time of modification as they like (a copy keeps
/// it); the time of change is the system's own.
#[cfg(unix)]
fn mark(meta: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    let (seconds, nanos) = (meta.ctime(), meta.ctime_nsec());
    format!("{}-{}-{seconds}.{nanos:09}", meta.dev(), meta.ino())
}

#[cfg(unix)]
fn is_settled(meta: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let changed = u64::try_from(meta.ctime()).unwrap_or_default();
    let age = SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_secs(changed));
    // One from the future may be met again.
    age.is_ok_and(|age| age > SETTLED)
}

/// The time of modification is all that is known.
#[cfg(not(unix))]
fn mark(meta: &Metadata) -> String {
    let modified = meta.modified().ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.unwrap_or_default().as_nanos().to_string()
}

/// Programs set the time of modification as they like.
#[cfg(not(unix))]
fn is_settled(_: &Metadata) -> bool {
    false
}

/// What is equal for all names of one stored file.
///
/// # Errors
/// The system's answer when the file can't be found.
#[cfg(unix)]
pub(crate) fn identity(path: &Path) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path)?;
    Ok(format!("{}:{}", meta.dev(), meta.ino()))
}

/// What is equal for all names of one stored file.
///
/// # Errors
/// The system's answer when the file can't be found.
#[cfg(not(unix))]
pub(crate) fn identity(path: &Path) -> io::Result<String> {
    Ok(path.canonicalize()?.to_string_lossy().into_owned())
}

impl Source for LocalFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn stamp(&self) -> Option<String> {
        self.settled.then(|| self.mark.clone())
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        let meta = fs::metadata(&self.path)?;
        Ok(meta.len() == self.size && mark(&meta) == self.mark)
    }

    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(File::open(&self.path)?))
    }
}

/// Passes reads through and adds their sizes to a shared counter, for progress reports.
pub(crate) struct Counted<R> {
    pub(crate) inner: R,
    pub(crate) count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, pos: io::SeekFrom) -> io::Result<u64> {
        self.inner.seek(pos)
    }
}
