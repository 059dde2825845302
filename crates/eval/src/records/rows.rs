//! The rows of a Parquet file, with lists and structs.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use evenburn_data::contained;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use crate::{Document, EvalError, Place, Position};

/// The rows of a file.
pub(super) struct Rows {
    iterator: RowIter<'static>,
    path: Arc<Path>,
    next: u64,
    done: bool,
}

impl Rows {
    pub(super) fn open(bytes: Bytes, path: Arc<Path>) -> Result<Self, EvalError> {
        let open = || {
            let file = SerializedFileReader::new(bytes)?;
            Ok(RowIter::from_file_into(Box::new(file)))
        };
        let iterator = contained(open).map_err(|e| EvalError::Parquet {
            path: path.to_path_buf(),
            message: format!("not a readable Parquet file: {e}"),
        })?;
        Ok(Self {
            iterator,
            path,
            next: 0,
            done: false,
        })
    }
}

impl Iterator for Rows {
    type Item = Result<Document, EvalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let place = Place {
            path: Arc::clone(&self.path),
            position: Position::Row(self.next),
        };
        self.next += 1;
        let row = contained(|| self.iterator.next().transpose());
        match row {
            Ok(Some(row)) => Some(Ok(Document {
                fields: object(row),
                place,
            })),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(e) => {
                // The columns may stand at different rows now.
                self.done = true;
                Some(Err(EvalError::Record {
                    place,
                    message: e.to_string(),
                }))
            }
        }
    }
}

fn object(row: Row) -> Map<String, Value> {
    row.into_columns()
        .into_iter()
        .map(|(name, field)| (name, value(field)))
        .collect()
}

/// A cell as JSON has it; dates and times are their numbers, bytes are text where they are UTF-8.
fn value(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) | Field::Date(value) | Field::TimeMillis(value) => value.into(),
        Field::Long(value)
        | Field::TimeMicros(value)
        | Field::TimestampMillis(value)
        | Field::TimestampMicros(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float16(value) => float(value.into()),
        Field::Float(value) => float(value.into()),
        Field::Double(value) => float(value),
        Field::Str(value) => value.into(),
        Field::Bytes(value) => String::from_utf8_lossy(value.data()).into(),
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter().cloned();
            let entries = entries.map(|(key, field)| (text(value(key)), value(field)));
            Value::Object(entries.collect())
        }
        other @ Field::Decimal(_) => other.to_string().into(),
    }
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The key of a map as text.
fn text(key: Value) -> String {
    match key {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
