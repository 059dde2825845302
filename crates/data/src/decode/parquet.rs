//! `.parquet`: a string column, streamed by row group and a few rows at a time.

use std::io::{Read, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow_array::{Array, BinaryArray, RecordBatch, StringArray};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::{Document, Documents, SPLIT_FIELD};
use crate::DataError;
use crate::source::{Counted, ReadSeek, Source};
use crate::split::Tag;

/// Rows decoded at once. Small, because a row may be megabytes.
const ROWS: usize = 256;

/// Lets Parquet read ranges of any source: every range is an independent reader.
#[derive(Clone)]
struct Ranges {
    source: Arc<dyn Source>,
    bytes: Arc<AtomicU64>,
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.source.size()
    }
}

impl ChunkReader for Ranges {
    type T = Counted<Box<dyn ReadSeek>>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let mut inner = self.source.open()?;
        inner.seek(SeekFrom::Start(start))?;
        Ok(Counted {
            inner,
            count: Arc::clone(&self.bytes),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut buffer = Vec::new();
        let read = self
            .get_read(start)?
            .take(length as u64)
            .read_to_end(&mut buffer)?;
        if read != length {
            return Err(ParquetError::EOF(format!(
                "the file ends at byte {}, {} were expected",
                start + read as u64,
                start + length as u64
            )));
        }
        Ok(buffer.into())
    }
}

pub(super) fn open(
    source: Arc<dyn Source>,
    text_field: &str,
    bytes: &Arc<AtomicU64>,
) -> Result<Documents, DataError> {
    let path = source.location().to_path_buf();
    let fault = |message: String| DataError::Parquet {
        path: path.clone(),
        message,
    };
    let ranges = Ranges {
        source,
        bytes: Arc::clone(bytes),
    };
    // Without the writer's Arrow schema every text column reads as the one plain string type,
    // whether it was written as large, view or dictionary strings.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = ArrowReaderMetadata::load(&ranges, options)
        .map_err(|e| fault(format!("not a readable Parquet file: {e}")))?;
    let fields = metadata.schema().fields();
    let find = |name: &str| fields.iter().position(|f| f.name() == name);
    let Some(text) = find(text_field) else {
        let names: Vec<_> = fields.iter().map(|f| format!("`{}`", f.name())).collect();
        return Err(fault(format!(
            "no column `{text_field}` (data.text_field); it has {}",
            names.join(", ")
        )));
    };
    let roots = [Some(text), find(SPLIT_FIELD)].into_iter().flatten();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
    Ok(Box::new(Rows {
        ranges,
        metadata,
        mask,
        path,
        text_field: text_field.into(),
        group: 0,
        reader: None,
        batch: None,
        next_in_batch: 0,
        row: 0,
        done: false,
    }))
}

struct Rows {
    ranges: Ranges,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    path: PathBuf,
    text_field: String,
    /// The row group at hand.
    group: usize,
    /// Its reader. Every group has its own, so that an error is known to be in it.
    reader: Option<ParquetRecordBatchReader>,
    batch: Option<RecordBatch>,
    next_in_batch: usize,
    /// The next row in the file, from 0.
    row: u64,
    done: bool,
}

impl Rows {
    fn error(&self, message: String) -> DataError {
        DataError::Row {
            path: self.path.clone(),
            row: self.row,
            row_group: self.group,
            message,
        }
    }

    fn open_group(&self) -> Result<ParquetRecordBatchReader, ParquetError> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.ranges.clone(),
            self.metadata.clone(),
        )
        .with_row_groups(vec![self.group])
        .with_projection(self.mask.clone())
        .with_batch_size(ROWS)
        .build()
    }

    /// The next rows; `None` after the last row group.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, DataError> {
        while self.group < self.metadata.metadata().num_row_groups() {
            let mut reader = match self.reader.take() {
                Some(reader) => reader,
                None => self.open_group().map_err(|e| self.error(e.to_string()))?,
            };
            if let Some(batch) = reader.next() {
                self.reader = Some(reader);
                return batch.map(Some).map_err(|e| {
                    self.error(format!("cannot decode the {ROWS} rows from here on: {e}"))
                });
            }
            self.group += 1;
        }
        Ok(None)
    }

    fn next_document(&mut self) -> Result<Option<Document>, DataError> {
        loop {
            let Some(batch) = &self.batch else {
                self.next_in_batch = 0;
                self.batch = self.next_batch()?;
                if self.batch.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let i = self.next_in_batch;
            if i >= batch.num_rows() {
                self.batch = None;
                continue;
            }
            let Some(texts) = Column::of(batch, &self.text_field) else {
                return Err(self.error(format!("column `{}` holds no strings", self.text_field)));
            };
            let text = match texts.value(i) {
                Some(Ok(text)) => text.to_owned(),
                Some(Err(_)) => {
                    let why = format!("column `{}` is not valid UTF-8", self.text_field);
                    return Err(self.error(why));
                }
                None => {
                    return Err(self.error(format!("column `{}` is null", self.text_field)));
                }
            };
            let tags = Column::of(batch, SPLIT_FIELD);
            let tag = tags.as_ref().and_then(|tags| tags.value(i));
            let tag = tag.and_then(Result::ok).and_then(Tag::in_name);
            self.next_in_batch += 1;
            self.row += 1;
            return Ok(Some(Document { text, tag }));
        }
    }
}

/// A column of text. Some writers leave the annotation out that says so, and it reads as bytes.
enum Column {
    Text(StringArray),
    Bytes(BinaryArray),
}

impl Column {
    fn of(batch: &RecordBatch, name: &str) -> Option<Self> {
        let array = batch.column_by_name(name)?.as_any();
        match array.downcast_ref::<StringArray>() {
            Some(text) => Some(Self::Text(text.clone())),
            None => array
                .downcast_ref::<BinaryArray>()
                .cloned()
                .map(Self::Bytes),
        }
    }

    /// The text of a row; nothing where it is null.
    fn value(&self, row: usize) -> Option<Result<&str, std::str::Utf8Error>> {
        match self {
            Self::Text(array) => array.is_valid(row).then(|| Ok(array.value(row))),
            Self::Bytes(array) => array
                .is_valid(row)
                .then(|| std::str::from_utf8(array.value(row))),
        }
    }
}

impl Iterator for Rows {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_document();
        self.done = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}
