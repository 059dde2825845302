//! Lines with their numbers, split at `\n` alone (U+2028 and the like are text).

use std::io::{BufRead, Read};
use std::path::PathBuf;

use super::frames::FrameError;
use crate::DataError;

/// Bytes of the longest line that is read, 128 MiB. Books in JSON have some 10 MB; a line without an end would fill the memory.
const LONGEST: u64 = 128 << 20;

pub(super) struct Lines<R> {
    reader: R,
    path: PathBuf,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, path: PathBuf) -> Self {
        Self {
            reader,
            path,
            buffer: Vec::new(),
            number: 0,
        }
    }

    /// The next line with its ending, or `None` at the end. A byte-order mark at the start of the
    /// file is left out.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, DataError> {
        self.buffer.clear();
        let mut bounded = self.reader.by_ref().take(LONGEST);
        match bounded.read_until(b'\n', &mut self.buffer) {
            Ok(0) => Ok(None),
            Ok(read) if read as u64 == LONGEST && !self.buffer.ends_with(b"\n") => {
                let why = format!("the line is longer than {LONGEST} bytes");
                Err(self.error(self.number + 1, why))
            }
            Ok(_) => {
                self.number += 1;
                Ok(Some(self.last()))
            }
            Err(e) => {
                let broken = e.get_ref().and_then(|e| e.downcast_ref::<FrameError>());
                Err(match broken {
                    Some(frame) => DataError::Frame {
                        path: self.path.clone(),
                        codec: frame.codec,
                        frame: frame.frame,
                        line: self.number,
                        message: frame.message.clone(),
                    },
                    None => DataError::io("read", &self.path, e),
                })
            }
        }
    }

    /// The line that [`Lines::next`] returned last.
    pub(super) fn last(&self) -> &[u8] {
        let line = match self.number {
            1 => self.buffer.strip_prefix("\u{feff}".as_bytes()),
            _ => None,
        };
        line.unwrap_or(&self.buffer)
    }

    /// The number of the line that [`Lines::next`] returned last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn error(&self, line: u64, message: impl Into<String>) -> DataError {
        DataError::Line {
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }
}
