//! `.jsonl`: one JSON object a line; blank lines are passed over.

use std::io::BufRead;

use super::lines::Lines;
use super::{Document, record};
use crate::DataError;

pub(super) struct Jsonl<R> {
    lines: Lines<R>,
    text_field: String,
}

impl<R: BufRead> Jsonl<R> {
    pub(super) fn new(lines: Lines<R>, text_field: &str) -> Self {
        Self {
            lines,
            text_field: text_field.into(),
        }
    }

    /// Whether the last line begins an object and has some of it; JSON of several lines may begin with the brace alone.
    pub(super) fn has_object(&self) -> bool {
        let line = self.lines.last().trim_ascii();
        line.len() > 1 && line.starts_with(b"{")
    }

    fn next_document(&mut self) -> Result<Option<Document>, DataError> {
        loop {
            let Some(line) = self.lines.next()? else {
                return Ok(None);
            };
            let line = line.trim_ascii_end();
            if line.is_empty() {
                continue;
            }
            let parsed = record::parse(line, &self.text_field);
            return parsed
                .map(Some)
                .map_err(|message| self.lines.error(self.lines.number(), message));
        }
    }
}

impl<R: BufRead> Iterator for Jsonl<R> {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_document().transpose()
    }
}
