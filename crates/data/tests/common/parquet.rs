//! Parquet files of columns, for tests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// A column of a file.
#[derive(Clone)]
pub(crate) enum Cells {
    /// Bytes under a declaration in Parquet's language, with `{}` for the column's name; none are null.
    Bytes(&'static str, Vec<Option<Vec<u8>>>),
    /// Never null.
    Numbers(Vec<i64>),
}

impl Cells {
    /// Strings that might be null.
    pub(crate) fn text<T: Into<String>>(rows: impl IntoIterator<Item = T>) -> Self {
        let rows = rows.into_iter().map(|row| Some(row.into().into_bytes()));
        Self::Bytes("OPTIONAL BYTE_ARRAY {} (UTF8)", rows.collect())
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(_, rows) => rows.len(),
            Self::Numbers(rows) => rows.len(),
        }
    }

    fn declared(&self) -> &'static str {
        match self {
            Self::Bytes(declared, _) => declared,
            Self::Numbers(_) => "REQUIRED INT64 {}",
        }
    }
}

/// A file of these columns, with as many rows to a group.
pub(crate) fn parquet(columns: &[(&str, Cells)], compression: Compression, rows: usize) -> Vec<u8> {
    let fields: String = columns
        .iter()
        .map(|(name, cells)| cells.declared().replace("{}", name) + ";")
        .collect();
    let schema = parse_message_type(&format!("message file {{ {fields} }}")).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut out = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut out, Arc::new(schema), Arc::new(properties)).unwrap();
    let total = columns[0].1.len();
    for start in (0..total).step_by(rows) {
        let range = start..total.min(start + rows);
        let mut group = writer.next_row_group().unwrap();
        for (_, cells) in columns {
            let mut column = group.next_column().unwrap().unwrap();
            match cells {
                Cells::Numbers(rows) => {
                    let typed = column.typed::<Int64Type>();
                    typed.write_batch(&rows[range.clone()], None, None).unwrap();
                }
                Cells::Bytes(declared, rows) => {
                    let rows = &rows[range.clone()];
                    let levels: Vec<i16> = rows.iter().map(|row| row.is_some().into()).collect();
                    let levels = declared.starts_with("OPTIONAL").then_some(levels);
                    let values: Vec<_> = rows.iter().flatten().map(|v| v.clone().into()).collect();
                    let typed = column.typed::<ByteArrayType>();
                    typed.write_batch(&values, levels.as_deref(), None).unwrap();
                }
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    out
}
