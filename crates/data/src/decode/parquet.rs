//! `.parquet`: a string column, streamed by row group and a few rows at a time.

use std::collections::VecDeque;
use std::io::{self, Read, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parquet::basic::ConvertedType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, Length, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::schema::types::SchemaDescriptor;

use super::contained::contained;
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
    /// Whether the storage failed, and not what it holds.
    failed: Arc<AtomicBool>,
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.source.size()
    }
}

impl ChunkReader for Ranges {
    type T = Range;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let open = || {
            let mut reader = self.source.open()?;
            reader.seek(SeekFrom::Start(start))?;
            Ok(reader)
        };
        let reader = open().inspect_err(|_: &io::Error| self.failed.store(true, Ordering::Relaxed));
        Ok(Range {
            reader: Counted {
                inner: reader?,
                count: Arc::clone(&self.bytes),
            },
            failed: Arc::clone(&self.failed),
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

/// A reader that notes failures.
struct Range {
    reader: Counted<Box<dyn ReadSeek>>,
    failed: Arc<AtomicBool>,
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed.store(true, Ordering::Relaxed);
            }
        })
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
    let failed = Arc::new(AtomicBool::new(false));
    let ranges = Ranges {
        source,
        bytes: Arc::clone(bytes),
        failed: Arc::clone(&failed),
    };
    let file = contained(|| SerializedFileReader::new(ranges))
        .map_err(|e| fault(format!("not a readable Parquet file: {e}")))?;
    let about = file.metadata().file_metadata();
    let rows = file
        .metadata()
        .row_groups()
        .iter()
        .try_fold(0_i64, |sum, group| sum.checked_add(group.num_rows()));
    if rows != Some(about.num_rows()) {
        return Err(fault(format!(
            "not a readable Parquet file: its footer says {} rows, its row groups hold another number",
            about.num_rows()
        )));
    }
    let schema = about.schema_descr();
    let fields = schema.root_schema().get_fields();
    if !fields.iter().any(|f| f.name() == text_field) {
        let names: Vec<_> = fields.iter().map(|f| format!("`{}`", f.name())).collect();
        return Err(fault(format!(
            "no column `{text_field}` (data.text_field); it has {}",
            names.join(", ")
        )));
    }
    let Some(text) = strings(schema, text_field) else {
        return Err(fault(format!("column `{text_field}` holds no strings")));
    };
    let tag = strings(schema, SPLIT_FIELD);
    Ok(Documents::new(Box::new(Rows {
        file,
        failed,
        path,
        text_field: text_field.into(),
        text,
        tag,
        group: 0,
        open: None,
        row: 0,
        done: false,
    })))
}

/// The number of the column of strings with this name; `None` for numbers, lists and structs.
///
/// Bytes without an annotation count as strings: some writers leave it out.
fn strings(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    schema.columns().iter().position(|column| {
        column.path().parts() == [name]
            && column.max_rep_level() == 0
            && column.physical_type() == parquet::basic::Type::BYTE_ARRAY
            && matches!(
                column.converted_type(),
                ConvertedType::NONE
                    | ConvertedType::UTF8
                    | ConvertedType::JSON
                    | ConvertedType::ENUM
            )
    })
}

struct Rows {
    file: SerializedFileReader<Ranges>,
    failed: Arc<AtomicBool>,
    path: PathBuf,
    text_field: String,
    /// The numbers of the columns.
    text: usize,
    tag: Option<usize>,
    /// The row group at hand, and what is left of it once it is opened.
    group: usize,
    open: Option<Group>,
    /// The next row in the file, from 0.
    row: u64,
    done: bool,
}

/// A row group that is being read.
struct Group {
    text: Column,
    tag: Option<Column>,
    /// Rows that its footer promises and that have not been read.
    rows_left: u64,
}

impl Group {
    /// Opens the columns; `None` for a group without rows.
    fn open(
        group: &dyn RowGroupReader,
        text: usize,
        tag: Option<usize>,
    ) -> Result<Option<Self>, ParquetError> {
        let rows_left = u64::try_from(group.metadata().num_rows())
            .map_err(|_| ParquetError::General("a negative number of rows".into()))?;
        if rows_left == 0 {
            return Ok(None);
        }
        let column = |number: usize| Column::open(group, number);
        Ok(Some(Self {
            text: column(text)?,
            tag: tag.map(column).transpose()?,
            rows_left,
        }))
    }

    fn is_at_its_end(&mut self) -> Result<bool, ParquetError> {
        Ok(self.text.is_at_its_end()?
            && match &mut self.tag {
                Some(tag) => tag.is_at_its_end()?,
                None => true,
            })
    }
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

    fn undecodable(&self, error: &ParquetError) -> DataError {
        if self.failed.load(Ordering::Relaxed) {
            return DataError::io("read", &self.path, io::Error::other(error.to_string()));
        }
        self.error(format!(
            "cannot decode the {ROWS} rows from here on: {error}"
        ))
    }

    /// The row group in which the next row stands; `None` after the last.
    fn open_group(&mut self) -> Result<Option<Group>, DataError> {
        if let Some(mut group) = self.open.take() {
            if group.rows_left > 0 {
                return Ok(Some(group));
            }
            if !group.is_at_its_end().map_err(|e| self.undecodable(&e))? {
                return Err(self.error("the row group goes on behind its last row".into()));
            }
            self.group += 1;
        }
        while self.group < self.file.num_row_groups() {
            let open = || {
                let group = self.file.get_row_group(self.group)?;
                Group::open(group.as_ref(), self.text, self.tag)
            };
            let group = contained(open).map_err(|e| self.undecodable(&e))?;
            if group.is_some() {
                return Ok(group);
            }
            self.group += 1;
        }
        Ok(None)
    }

    /// The next row, as a document or as one that is none. After an error no row can be read.
    fn next_row(&mut self) -> Result<Option<Result<Document, DataError>>, DataError> {
        let Some(mut group) = self.open_group()? else {
            return Ok(None);
        };
        let text = group.text.next().map_err(|e| self.undecodable(&e))?;
        let tag = match &mut group.tag {
            Some(tag) => tag.next().map_err(|e| self.undecodable(&e))?,
            None => None,
        };
        let document = self.document(text.as_ref(), tag.as_ref());
        group.rows_left -= 1;
        self.open = Some(group);
        self.row += 1;
        Ok(Some(document))
    }

    fn document(
        &self,
        text: Option<&ByteArray>,
        tag: Option<&ByteArray>,
    ) -> Result<Document, DataError> {
        let bad = |why| self.error(format!("column `{}` is {why}", self.text_field));
        let text = text.ok_or_else(|| bad("null"))?;
        let text = std::str::from_utf8(text.data()).map_err(|_| bad("not valid UTF-8"))?;
        let tag = tag.and_then(|tag| std::str::from_utf8(tag.data()).ok());
        Ok(Document {
            text: text.to_owned(),
            tag: tag.and_then(Tag::in_name),
        })
    }
}

/// The strings of one column of one row group, decoded a few rows at a time.
struct Column {
    reader: ColumnReaderImpl<ByteArrayType>,
    /// The definition level of a row that is not null: 1 where the column may hold nulls, else 0.
    present: i16,
    /// Rows that are decoded and not yet handed out.
    rows: VecDeque<Option<ByteArray>>,
}

impl Column {
    fn open(group: &dyn RowGroupReader, number: usize) -> Result<Self, ParquetError> {
        let ColumnReader::ByteArrayColumnReader(reader) = group.get_column_reader(number)? else {
            return Err(ParquetError::General("the column holds no bytes".into()));
        };
        let schema = group.metadata().schema_descr();
        Ok(Self {
            reader,
            present: schema.column(number).max_def_level(),
            rows: VecDeque::new(),
        })
    }

    /// The next row, `None` where it is null; an error where the row group has fewer than its footer says.
    fn next(&mut self) -> Result<Option<ByteArray>, ParquetError> {
        self.fill()?;
        self.rows
            .pop_front()
            .ok_or_else(|| ParquetError::EOF("the row group ends before its last row".into()))
    }

    fn is_at_its_end(&mut self) -> Result<bool, ParquetError> {
        self.fill()?;
        Ok(self.rows.is_empty())
    }

    /// Decodes the next rows where none is left.
    fn fill(&mut self) -> Result<(), ParquetError> {
        if !self.rows.is_empty() {
            return Ok(());
        }
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (rows, _, _) = contained(|| {
            self.reader
                .read_records(ROWS, Some(&mut levels), None, &mut values)
        })?;
        let mut values = values.into_iter();
        for row in 0..rows {
            // Levels are left out where no row can be null.
            let present = levels.get(row).is_none_or(|&level| level == self.present);
            self.rows
                .push_back(if present { values.next() } else { None });
        }
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Result<Document, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.next_row();
        self.done = !matches!(next, Ok(Some(_)));
        next.and_then(Option::transpose).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::parquet_files::{Cells, parquet};
    use crate::source::LocalFile;
    use ::parquet::basic::Compression;

    const ROWS_OF_FILE: usize = 700;
    const ROWS_OF_GROUP: usize = 400;

    /// The column `split` says where a document belongs, however it is declared; what says nothing is nothing.
    #[test]
    fn rows_say_their_split() {
        type Value = fn(usize) -> Option<Vec<u8>>;
        let cases: [(&str, Value); 5] = [
            ("OPTIONAL BYTE_ARRAY {} (UTF8)", |row| {
                (row % 2 == 0).then(|| name(row))
            }),
            ("REQUIRED BYTE_ARRAY {} (UTF8)", |row| Some(name(row))),
            ("REQUIRED BYTE_ARRAY {}", |row| Some(name(row))),
            ("REQUIRED BYTE_ARRAY {}", |_| Some(b"train\xff".to_vec())),
            ("REQUIRED BYTE_ARRAY {} (DECIMAL(4, 2))", |_| {
                Some(b"train".to_vec())
            }),
        ];
        for (number, (declared, value)) in cases.into_iter().enumerate() {
            let values: Vec<_> = (0..ROWS_OF_FILE).map(value).collect();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.parquet");
            let columns = [
                ("split", Cells::Bytes(declared, values.clone())),
                (
                    "text",
                    Cells::text((0..ROWS_OF_FILE).map(|row| format!("text {row}"))),
                ),
            ];
            let file = parquet(&columns, Compression::UNCOMPRESSED, ROWS_OF_GROUP);
            std::fs::write(&path, file).unwrap();
            let source = Arc::new(LocalFile::new("a.parquet".into(), path).unwrap());
            let found: Vec<_> = open(source, "text", &Arc::default())
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert_eq!(found.len(), ROWS_OF_FILE);
            for (row, document) in found.iter().enumerate() {
                assert_eq!(document.text, format!("text {row}"));
                let want = match &values[row] {
                    Some(value) if number < 3 => Tag::in_name(std::str::from_utf8(value).unwrap()),
                    _ => None,
                };
                assert_eq!(document.tag, want, "{declared} row {row}");
            }
        }
    }

    fn name(row: usize) -> Vec<u8> {
        ["train", "validation", "other"][row % 3].into()
    }
}
