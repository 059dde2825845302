//! Lines with their numbers, split at `\n` alone (U+2028 and the like are text).

use std::io::{self, BufRead, ErrorKind, Read};
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
    longest: u64,
    /// Whether the last line was too long, and the rest of it is still to be passed over.
    inside: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, path: PathBuf) -> Self {
        Self {
            reader,
            path,
            buffer: Vec::new(),
            number: 0,
            longest: LONGEST,
            inside: false,
        }
    }

    /// The next line with its ending, or `None` at the end. A byte-order mark at the start of the
    /// file is left out.
    ///
    /// # Errors
    /// [`DataError::Line`] for a line that is too long; the next one comes after it. [`DataError::Frame`] for damage, after
    /// which there is no line; anything else is the storage's.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, DataError> {
        self.buffer.clear();
        while self.inside {
            let (passed, ended) = match self.reader.fill_buf() {
                Ok(bytes) => match bytes.iter().position(|byte| *byte == b'\n') {
                    Some(end) => (end + 1, true),
                    None => (bytes.len(), bytes.is_empty()),
                },
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => {
                    self.inside = false;
                    return Err(self.unread(e));
                }
            };
            self.reader.consume(passed);
            self.inside = !ended;
        }
        let mut bounded = self.reader.by_ref().take(self.longest);
        match bounded.read_until(b'\n', &mut self.buffer) {
            Ok(0) => Ok(None),
            Ok(read) if read as u64 == self.longest && !self.buffer.ends_with(b"\n") => {
                self.number += 1;
                self.inside = true;
                self.buffer = Vec::new();
                let why = format!("the line is longer than {} bytes", self.longest);
                Err(self.error(self.number, why))
            }
            Ok(_) => {
                self.number += 1;
                Ok(Some(self.last()))
            }
            Err(e) => Err(self.unread(e)),
        }
    }

    fn unread(&self, error: io::Error) -> DataError {
        let broken = error.get_ref().and_then(|e| e.downcast_ref::<FrameError>());
        match broken {
            Some(frame) => DataError::Frame {
                path: self.path.clone(),
                codec: frame.codec,
                frame: frame.frame,
                line: self.number,
                message: frame.message.clone(),
            },
            None => DataError::io("read", &self.path, error),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Whatever a reader hands out at once.
    #[test]
    fn lines_after_one_that_is_too_long_are_read() {
        let text = b"one\ntoo long, and goes on\nthree\n\nlonger than anything";
        for capacity in 1..12 {
            let reader = io::BufReader::with_capacity(capacity, &text[..]);
            let mut lines = Lines::new(reader, "a.txt".into());
            lines.longest = 6;
            let mut found = Vec::new();
            loop {
                match lines.next() {
                    Ok(Some(line)) => found.push(String::from_utf8(line.to_vec()).unwrap()),
                    Ok(None) => break,
                    Err(error) => found.push(error.to_string()),
                }
            }
            let long = |line| format!("a.txt, line {line}: the line is longer than 6 bytes");
            assert_eq!(found, ["one\n", &long(2), "three\n", "\n", &long(5)]);
        }
    }
}
