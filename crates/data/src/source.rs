//! Where bytes come from: the seam between stored files and decoding.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

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
    /// A cheap mark that changes when the contents do (a file's modification time, a revision).
    fn stamp(&self) -> String;
    /// Opens an independent reader at the start.
    ///
    /// # Errors
    /// Whatever the storage answers.
    fn open(&self) -> io::Result<Box<dyn ReadSeek>>;
}

/// A source on the local file system.
#[derive(Debug)]
pub struct LocalFile {
    name: String,
    path: PathBuf,
    size: u64,
    stamp: String,
}

impl LocalFile {
    /// Looks the file up. `name` is what the manifest calls it.
    ///
    /// # Errors
    /// The system's answer when its metadata can't be read.
    pub fn new(name: String, path: PathBuf) -> io::Result<Self> {
        let meta = fs::metadata(&path)?;
        let stamp = meta
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .map_or_else(String::new, |d| d.as_nanos().to_string());
        Ok(Self {
            name,
            path,
            size: meta.len(),
            stamp,
        })
    }
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

    fn stamp(&self) -> String {
        self.stamp.clone()
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
