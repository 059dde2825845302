//! A file that is read where it lies, by ranges.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::LocationError;
use crate::file::StoredFile;
use crate::remote::{RemoteFile, Sink};

/// Blocks kept for all files together, the last ones used: 64 MiB of the usual size.
const KEPT: usize = 16;

type Block = Arc<Vec<u8>>;

/// The blocks that were read last, of all files. Readers of Parquet open a file for every page.
#[derive(Debug, Default)]
pub(crate) struct Blocks(Mutex<VecDeque<(String, u64, Block)>>);

impl Blocks {
    fn get(&self, place: &str, number: u64) -> Option<Block> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept
            .iter()
            .position(|(p, n, _)| p == place && *n == number)?;
        let entry = kept.remove(at)?;
        let block = Arc::clone(&entry.2);
        kept.push_back(entry);
        Some(block)
    }

    fn put(&self, place: &str, number: u64, block: &Block) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((place.to_owned(), number, Arc::clone(block)));
    }
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), LocationError> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), LocationError> {
        self.clear();
        Ok(())
    }
}

/// Reads a remote file in blocks.
#[derive(Debug)]
pub(crate) struct RangeReader {
    file: RemoteFile,
    place: String,
    at: u64,
    block: Option<(u64, Block)>,
}

impl RangeReader {
    pub(crate) fn new(file: RemoteFile) -> Self {
        let place = format!("{} {}", file.location(), file.id);
        Self {
            file,
            place,
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
        let kept = &self.file.shared.blocks;
        let block = if let Some(block) = kept.get(&self.place, number) {
            block
        } else {
            let size = self.file.shared.block;
            let span: Range<u64> = number * size..((number + 1) * size).min(self.file.size);
            let mut bytes = Vec::with_capacity((span.end - span.start) as usize);
            self.file.copy(&span, span.start, &mut bytes)?;
            let block = Arc::new(bytes);
            kept.put(&self.place, number, &block);
            block
        };
        self.block = Some((number, Arc::clone(&block)));
        Ok(block)
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
