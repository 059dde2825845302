//! A file that is read where it lies, by ranges.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use crate::LocationError;
use crate::remote::{RemoteFile, Sink};
use crate::validator::Proof;

/// Blocks kept for all files together, the last ones used: 64 MiB of the usual size.
const KEPT: usize = 16;

type Block = Arc<Vec<u8>>;

/// A file, by its number, and a block of it.
type Key = (u64, u64);

/// A block that is being fetched; whoever else wants it waits.
type Flight = Arc<OnceLock<Result<Block, LocationError>>>;

/// The blocks that were read last, of all files. Readers of Parquet open a file for every page.
#[derive(Debug, Default)]
pub(crate) struct Blocks(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The last one used is at the end.
    blocks: VecDeque<(Key, Block)>,
    flights: HashMap<Key, Flight>,
}

impl Kept {
    fn get(&mut self, key: Key) -> Option<Block> {
        let at = self.blocks.iter().position(|(have, _)| *have == key)?;
        let entry = self.blocks.remove(at)?;
        let block = Arc::clone(&entry.1);
        self.blocks.push_back(entry);
        Some(block)
    }

    fn put(&mut self, key: Key, block: &Block) {
        if self.blocks.len() >= KEPT {
            self.blocks.pop_front();
        }
        self.blocks.push_back((key, Arc::clone(block)));
    }
}

impl Blocks {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a block is there, or will be.
    fn expects(&self, key: Key) -> bool {
        let kept = self.kept();
        kept.flights.contains_key(&key) || kept.blocks.iter().any(|(have, _)| *have == key)
    }

    /// A block, which nobody else fetches at the same time.
    fn get_or_fetch(
        &self,
        key: Key,
        fetch: impl FnOnce() -> Result<Block, LocationError>,
    ) -> Result<Block, LocationError> {
        let flight = {
            let mut kept = self.kept();
            if let Some(block) = kept.get(key) {
                return Ok(block);
            }
            Arc::clone(kept.flights.entry(key).or_default())
        };
        let fetched = flight.get_or_init(fetch).clone();
        let mut kept = self.kept();
        // The first of those that waited.
        if kept
            .flights
            .get(&key)
            .is_some_and(|now| Arc::ptr_eq(now, &flight))
        {
            kept.flights.remove(&key);
            if let Ok(block) = &fetched {
                kept.put(key, block);
            }
        }
        fetched
    }
}

impl Sink for Vec<u8> {
    fn proof(&self) -> Proof {
        Proof::Tag
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LocationError> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), LocationError> {
        self.clear();
        Ok(())
    }
}

/// Reads a remote file in blocks. While a file is read from block to block, the next one is fetched ahead.
#[derive(Debug)]
pub(crate) struct RangeReader {
    file: RemoteFile,
    at: u64,
    block: Option<(u64, Block)>,
}

/// Fetches a block, unless it is there.
fn fetch(file: &RemoteFile, number: u64) -> Result<Block, LocationError> {
    let shared = &file.shared;
    shared.blocks.get_or_fetch((file.number, number), || {
        let size = shared.block;
        let span: Range<u64> = number * size..((number + 1) * size).min(file.size);
        let mut bytes = Vec::with_capacity((span.end - span.start) as usize);
        file.copy(&span, span.start, &mut bytes)?;
        Ok(Arc::new(bytes))
    })
}

impl RangeReader {
    pub(crate) fn new(file: RemoteFile) -> Self {
        Self {
            file,
            at: 0,
            block: None,
        }
    }

    fn block(&mut self, number: u64) -> Result<Block, LocationError> {
        if let Some((have, block)) = &self.block
            && *have == number
        {
            return Ok(Arc::clone(block));
        }
        let block = fetch(&self.file, number)?;
        if self.file.follows(number) {
            self.ahead(number + 1);
        }
        self.block = Some((number, Arc::clone(&block)));
        Ok(block)
    }

    /// Has a block fetched while others are used.
    fn ahead(&self, number: u64) {
        let shared = &self.file.shared;
        let key = (self.file.number, number);
        if number * shared.block >= self.file.size || shared.blocks.expects(key) {
            return;
        }
        let file = self.file.clone();
        // Whoever wants the block sees what went wrong, or fetches it where there was no thread.
        let _ = thread::Builder::new().spawn(move || fetch(&file, number));
    }
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.file.size || buffer.is_empty() {
            return Ok(0);
        }
        let size = self.file.shared.block;
        let block = self.block(self.at / size)?;
        let rest = &block[(self.at % size) as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for RangeReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
