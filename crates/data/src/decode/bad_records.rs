//! The documents of a file, and what becomes of those that can't be used.

use serde::{Deserialize, Serialize};

use super::Document;
use crate::{DataError, OnBadRecord};

/// What a decoder gives: it goes on after a record that can't be used, and nothing follows any other error.
pub(super) type Records = Box<dyn Iterator<Item = Result<Document, DataError>> + Send>;

/// How many of the records that are left out are described.
const DESCRIBED: usize = 3;

/// Records that are left out because they can't be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRecords {
    /// How many: a line, a row, or the rest of a file from where it is damaged.
    pub count: u64,
    /// Where the first few are in their file, and what is wrong with them.
    pub first: Vec<String>,
}

impl BadRecords {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, description: String) {
        self.count += 1;
        if self.first.len() < DESCRIBED {
            self.first.push(description);
        }
    }
}

/// The documents of a file in its order. After an error nothing follows.
///
/// A record that can't be used is an error, or is left out and counted ([`Documents::on_bad_record`]).
///
/// ```
/// use std::sync::Arc;
/// use evenburn_data::{LocalFile, OnBadRecord, documents};
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.jsonl");
/// std::fs::write(&path, "{\"text\": \"one\"}\n{\"text\": \"cut\n{\"text\": \"two\"}\n")?;
/// let file = Arc::new(LocalFile::new("a.jsonl".into(), path)?);
/// assert!(documents(file.clone(), "text")?.nth(1).unwrap().is_err());
///
/// let mut documents = documents(file, "text")?.on_bad_record(OnBadRecord::Skip);
/// let texts: Vec<_> = documents.by_ref().map(|d| d.unwrap().text).collect();
/// assert_eq!(texts, ["one", "two"]);
/// let bad = documents.bad_records();
/// assert!(bad.count == 1 && bad.first[0].starts_with("line 2: invalid JSON"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Documents {
    records: Records,
    on_bad_record: OnBadRecord,
    bad: BadRecords,
    ended: bool,
}

impl Documents {
    pub(super) fn new(records: Records) -> Self {
        Self {
            records,
            on_bad_record: OnBadRecord::default(),
            bad: BadRecords::default(),
            ended: false,
        }
    }

    /// The same with another answer to records that can't be used; at first they are errors.
    #[must_use]
    pub fn on_bad_record(mut self, answer: OnBadRecord) -> Self {
        self.on_bad_record = answer;
        self
    }

    /// The same with errors in the words of something that knows more of them.
    pub(crate) fn told_by(self, told: impl Fn(DataError) -> DataError + Send + 'static) -> Self {
        let records = self.records.map(move |record| record.map_err(&told));
        Self {
            records: Box::new(records),
            ..self
        }
    }

    /// What has been left out so far.
    pub fn bad_records(&self) -> &BadRecords {
        &self.bad
    }
}

impl Iterator for Documents {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.records.next() {
                Some(Err(error)) => {
                    let description = match self.on_bad_record {
                        OnBadRecord::Stop => None,
                        OnBadRecord::Skip => error.of_record(),
                    };
                    let Some(description) = description else {
                        self.ended = true;
                        return Some(Err(error));
                    };
                    self.bad.add(description);
                }
                document @ Some(Ok(_)) => return document,
                None => self.ended = true,
            }
        }
        None
    }
}
