//! Sources whose bytes are kept as they are read, and read again from memory.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::source::{ReadSeek, Source};

/// What was read of a source.
#[derive(Default)]
struct Kept {
    /// Bytes by where they begin.
    blocks: BTreeMap<u64, Vec<u8>>,
    bytes: u64,
    /// How long the source took for them.
    time: Duration,
}

impl Kept {
    /// Keeps what isn't kept yet.
    fn keep(&mut self, at: u64, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let before = self.blocks.range_mut(..=at).next_back();
        if let Some((start, block)) = before
            && at <= start + block.len() as u64
        {
            let known = (start + block.len() as u64 - at) as usize;
            block.extend_from_slice(bytes.get(known..).unwrap_or_default());
            return;
        }
        self.blocks.insert(at, bytes.to_vec());
    }

    /// Fills a buffer with what is kept from a place on.
    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let before = self.blocks.range(..=at).next_back();
        let rest = before.and_then(|(start, block)| block.get((at - start) as usize..));
        let rest = rest.filter(|rest| !rest.is_empty() || buffer.is_empty());
        rest.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            .and_then(|mut rest| rest.read(buffer))
    }
}

/// A source whose bytes are kept. Clones share them.
#[derive(Clone)]
pub(super) struct Recorder {
    source: Arc<dyn Source>,
    kept: Arc<Mutex<Kept>>,
}

/// The same source in memory, as far as it was read.
pub(super) struct Recorded(Recorder);

impl Recorder {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            kept: Arc::default(),
        }
    }

    /// Bytes that were read, and how long the source took for them.
    pub(super) fn taken(&self) -> (u64, Duration) {
        let kept = lock(&self.kept);
        (kept.bytes, kept.time)
    }

    pub(super) fn recorded(&self) -> Recorded {
        Recorded(self.clone())
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does some work of a source and counts its time.
fn timed<T>(kept: &Mutex<Kept>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    lock(kept).time += start.elapsed();
    done
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Source for Recorder {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn location(&self) -> &Path {
        self.source.location()
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    fn stamp(&self) -> Option<String> {
        self.source.stamp()
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        self.source.is_unchanged()
    }

    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Recording {
            reader: timed(&self.kept, || self.source.open())?,
            kept: Arc::clone(&self.kept),
            at: 0,
        }))
    }
}

struct Recording {
    reader: Box<dyn ReadSeek>,
    kept: Arc<Mutex<Kept>>,
    at: u64,
}

impl Read for Recording {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = timed(&self.kept, || self.reader.read(buffer))?;
        lock(&self.kept).keep(self.at, &buffer[..read]);
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Recording {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = timed(&self.kept, || self.reader.seek(to))?;
        Ok(self.at)
    }
}

impl Source for Recorded {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn location(&self) -> &Path {
        self.0.location()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn stamp(&self) -> Option<String> {
        None
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Playing {
            kept: Arc::clone(&self.0.kept),
            size: self.size(),
            at: 0,
        }))
    }
}

struct Playing {
    kept: Arc<Mutex<Kept>>,
    size: u64,
    at: u64,
}

impl Read for Playing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size {
            return Ok(0);
        }
        let read = lock(&self.kept).read(self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Playing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
            SeekFrom::End(offset) => self.size.checked_add_signed(offset),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::LocalFile;

    #[test]
    fn what_was_read_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let recorder = Recorder::new(Arc::new(LocalFile::new("a.txt".into(), path).unwrap()));
        let read = |source: &dyn Source, at: u64, count: usize| {
            let mut reader = source.open().unwrap();
            reader.seek(SeekFrom::Start(at)).unwrap();
            let mut buffer = vec![0; count];
            reader.read_exact(&mut buffer).map(|()| buffer)
        };
        for (at, count) in [(900, 100), (0, 10), (10, 90), (50, 100), (200, 5)] {
            let end = at as usize + count;
            assert_eq!(read(&recorder, at, count).unwrap(), bytes[at as usize..end]);
        }
        let recorded = recorder.recorded();
        for (at, count) in [(0, 150), (200, 5), (901, 99), (1000, 0)] {
            let end = at as usize + count;
            assert_eq!(read(&recorded, at, count).unwrap(), bytes[at as usize..end]);
        }
        // The rest is on the disk alone.
        assert!(read(&recorded, 150, 1).is_err());
        assert_eq!(recorder.taken().0, 305);
        assert_eq!(recorded.size(), 1000);
    }
}
