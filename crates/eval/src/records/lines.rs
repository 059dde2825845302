//! An object a line. Lines end at line feeds alone: U+2028 and U+0085 are text.

use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Document, EvalError, Place, Position};

/// Bytes of the longest line that is read; a line without an end would fill the memory.
const LONGEST: u64 = 128 << 20;

/// The lines of a reader.
pub(super) struct Lines<R> {
    reader: R,
    path: Arc<Path>,
    buffer: Vec<u8>,
    number: u64,
    done: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, path: Arc<Path>) -> Self {
        Self {
            reader,
            path,
            buffer: Vec::new(),
            number: 0,
            done: false,
        }
    }

    fn fault(&self, message: String) -> EvalError {
        EvalError::Record {
            place: self.place(),
            message,
        }
    }

    fn place(&self) -> Place {
        Place {
            path: Arc::clone(&self.path),
            position: Position::Line(self.number),
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Document, EvalError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            self.buffer.clear();
            self.number += 1;
            let mut bounded = self.reader.by_ref().take(LONGEST);
            match bounded.read_until(b'\n', &mut self.buffer) {
                Ok(0) => break,
                Ok(_) if self.buffer.len() as u64 == LONGEST && !self.buffer.ends_with(b"\n") => {
                    self.done = true;
                    return Some(Err(
                        self.fault(format!("the line is longer than {LONGEST} bytes"))
                    ));
                }
                Ok(_) => {}
                Err(e) => {
                    self.done = true;
                    return Some(Err(EvalError::io("read", &self.path, e)));
                }
            }
            let line = match self.number {
                1 => self.buffer.strip_prefix("\u{feff}".as_bytes()),
                _ => None,
            };
            let line = line.unwrap_or(&self.buffer);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let fields: Result<Map<String, Value>, _> = serde_json::from_slice(line);
            return Some(match fields {
                Ok(fields) => Ok(Document {
                    fields,
                    place: self.place(),
                }),
                Err(e) => Err(self.fault(format!("is no JSON object: {e}"))),
            });
        }
        self.done = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_line_feeds() {
        let text = "\u{feff}{\"a\": 1}\r\n\n{\"a\": \"x\u{85}y\u{2028}z\"}\nnull\n{\"a\": 2}";
        let read: Vec<_> = Lines::new(text.as_bytes(), Path::new("a.jsonl").into()).collect();
        let fields = |i: usize| {
            read[i]
                .as_ref()
                .map(|document| document.fields["a"].clone())
        };
        assert_eq!(fields(0).unwrap(), 1);
        assert_eq!(fields(1).unwrap(), "x\u{85}y\u{2028}z");
        let error = read[2].as_ref().unwrap_err().to_string();
        assert!(
            error.starts_with("a.jsonl, line 4: is no JSON object"),
            "{error}"
        );
        assert_eq!(fields(3).unwrap(), 2);
        assert_eq!(
            read[3].as_ref().unwrap().place.to_string(),
            "a.jsonl, line 5"
        );
        assert_eq!(read.len(), 4);
    }
}
