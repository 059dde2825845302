//! `.txt`: the file is one document, or several with a line `<|endoftext|>` between them.

use std::io::BufRead;

use super::lines::Lines;
use super::{Document, TXT_SEPARATOR};
use crate::DataError;

pub(super) struct Txt<R> {
    lines: Lines<R>,
    done: bool,
}

impl<R: BufRead> Txt<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        Self { lines, done: false }
    }

    /// The bytes up to the next separator, and the number of their first line.
    fn next_text(&mut self) -> Result<(Vec<u8>, u64), DataError> {
        let mut text = Vec::new();
        let first = self.lines.number() + 1;
        while let Some(line) = self.lines.next()? {
            if line.trim_ascii_end() == TXT_SEPARATOR.as_bytes() {
                return Ok((text, first));
            }
            text.extend_from_slice(line);
        }
        self.done = true;
        Ok((text, first))
    }

    fn next_document(&mut self) -> Result<Option<Document>, DataError> {
        while !self.done {
            let (mut bytes, first) = self.next_text()?;
            // The break before a separator, or at the end of the file, belongs to neither side.
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            }
            let text = String::from_utf8(bytes).map_err(|e| {
                let valid = &e.as_bytes()[..e.utf8_error().valid_up_to()];
                let breaks = valid.split(|b| *b == b'\n').count() as u64 - 1;
                self.lines
                    .error(first + breaks, "the text is not valid UTF-8")
            })?;
            if !text.trim().is_empty() {
                return Ok(Some(Document { text, tag: None }));
            }
        }
        Ok(None)
    }
}

impl<R: BufRead> Iterator for Txt<R> {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_document();
        self.done |= next.is_err();
        next.transpose()
    }
}
