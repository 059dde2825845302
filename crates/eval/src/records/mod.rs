//! Documents from JSON lines and Parquet: all fields of each record.

mod lines;
mod rows;

use std::fmt;
use std::io::{BufReader, Read};

use evenburn_data::Source;

use crate::{Document, EvalError};

/// The endings of names that are read.
pub const FORMATS: &str =
    ".jsonl, .ndjson, .jsonlines or .json with an object a line, also with .zst or .gz; .parquet";

/// The documents of a file, one after the other; after a fault within a line comes the next line.
pub struct Documents(Box<dyn Iterator<Item = Result<Document, EvalError>>>);

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").finish_non_exhaustive()
    }
}

impl Iterator for Documents {
    type Item = Result<Document, EvalError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Opens the documents of a source, in the format that the end of its name says.
///
/// # Errors
/// The source can't be opened, its name has no known ending, or a Parquet file's footer is damaged. Later faults come
/// from the iterator, with their line or row.
///
/// ```
/// use evenburn_data::LocalFile;
/// use evenburn_eval::documents;
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("a.jsonl");
/// std::fs::write(&path, "{\"goal\": \"one\", \"label\": 1}\n{\"goal\": \"two\"}\n[]").unwrap();
/// let source = LocalFile::new("a.jsonl".into(), path).unwrap();
/// let mut found = documents(&source).unwrap();
/// assert_eq!(found.next().unwrap().unwrap().fields["label"], 1);
/// assert_eq!(found.next().unwrap().unwrap().fields["goal"], "two");
/// assert!(found.next().unwrap().unwrap_err().to_string().contains("line 3"));
/// ```
pub fn documents(source: &dyn Source) -> Result<Documents, EvalError> {
    let path = source.location();
    let name = source.name().to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().find_map(|ending| name.strip_suffix(ending));
    let open = || {
        source
            .open()
            .map_err(|e| EvalError::io("open", source.location(), e))
    };
    if ends(&[".parquet", ".pq"]).is_some() {
        let mut bytes = Vec::new();
        open()?
            .read_to_end(&mut bytes)
            .map_err(|e| EvalError::io("read", path, e))?;
        let rows = rows::Rows::open(bytes.into(), path.into())?;
        return Ok(Documents(Box::new(rows)));
    }
    let zstd = ends(&[".zst", ".zstd"]);
    let gzip = ends(&[".gz", ".gzip"]);
    let plain = zstd.or(gzip).unwrap_or(&name);
    if ![".jsonl", ".ndjson", ".jsonlines", ".json"]
        .iter()
        .any(|ending| plain.ends_with(ending))
    {
        return Err(EvalError::UnknownFormat {
            path: path.to_path_buf(),
        });
    }
    let raw = BufReader::with_capacity(1 << 17, open()?);
    let text: Box<dyn Read> = if zstd.is_some() {
        let decoder = zstd::Decoder::with_buffer(raw);
        Box::new(decoder.map_err(|e| EvalError::io("read", path, e))?)
    } else if gzip.is_some() {
        Box::new(flate2::bufread::MultiGzDecoder::new(raw))
    } else {
        Box::new(raw)
    };
    Ok(Documents(Box::new(lines::Lines::new(
        BufReader::with_capacity(1 << 17, text),
        path.into(),
    ))))
}
