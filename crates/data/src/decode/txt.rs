//! `.txt`: the file is one document, or several with a line `<|endoftext|>` between them.

use std::io::BufRead;

use super::lines::Lines;
use super::{Document, TXT_SEPARATOR};
use crate::DataError;

pub(super) struct Txt<R> {
    lines: Lines<R>,
    /// Whether a part of the document at hand is lost, and the rest of it is still to be passed over.
    inside: bool,
    done: bool,
}

impl<R: BufRead> Txt<R> {
    pub(super) fn new(lines: Lines<R>) -> Self {
        Self {
            lines,
            inside: false,
            done: false,
        }
    }

    /// The bytes up to the next separator, and the number of their first line.
    fn next_text(&mut self) -> Result<(Vec<u8>, u64), DataError> {
        self.pass_over()?;
        let mut text = Vec::new();
        let first = self.lines.number() + 1;
        loop {
            // An error loses the document in which it stands.
            self.inside = true;
            let line = self.lines.next()?;
            self.inside = false;
            match line {
                None => {
                    self.done = true;
                    return Ok((text, first));
                }
                Some(line) if is_separator(line) => return Ok((text, first)),
                Some(line) => text.extend_from_slice(line),
            }
        }
    }

    /// What is left of a document of which a part is lost.
    fn pass_over(&mut self) -> Result<(), DataError> {
        while self.inside {
            match self.lines.next() {
                Ok(line) => self.inside = line.is_some_and(|line| !is_separator(line)),
                // The same document has been told of.
                Err(error) if error.of_record().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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

fn is_separator(line: &[u8]) -> bool {
    line.trim_ascii_end() == TXT_SEPARATOR.as_bytes()
}

impl<R: BufRead> Iterator for Txt<R> {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_document().transpose()
    }
}
