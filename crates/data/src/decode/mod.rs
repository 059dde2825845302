//! From a source's bytes to its documents, one at a time.

mod frames;
mod jsonl;
mod lines;
mod parquet;
mod record;
mod txt;

use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::DataError;
use crate::layout::Tag;
use crate::source::{Counted, Source};
use frames::{Codec, Frames};
use lines::Lines;

/// What a source's name may end in.
pub const EXTENSIONS: [&str; 7] = [
    ".txt",
    ".txt.zst",
    ".txt.gz",
    ".jsonl",
    ".jsonl.zst",
    ".jsonl.gz",
    ".parquet",
];

/// JSON field or Parquet column that may tag a document with its split.
pub const SPLIT_FIELD: &str = "split";

/// The line that separates documents in a `.txt` file.
pub const TXT_SEPARATOR: &str = "<|endoftext|>";

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its text, unchanged.
    pub text: String,
    /// The split its own field names, if it has that field.
    pub(crate) tag: Option<Tag>,
}

/// Documents in file order. After an error nothing follows.
pub type Documents = Box<dyn Iterator<Item = Result<Document, DataError>> + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Txt,
    Jsonl,
    Parquet,
}

/// How a source is decoded, told by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    container: Container,
    codec: Codec,
}

impl Format {
    /// The format of a file name, if it is one of [`EXTENSIONS`].
    pub(crate) fn of(name: &str) -> Option<Self> {
        let (stem, codec) = if let Some(stem) = name.strip_suffix(".zst") {
            (stem, Codec::Zstd)
        } else if let Some(stem) = name.strip_suffix(".gz") {
            (stem, Codec::Gzip)
        } else {
            (name, Codec::Plain)
        };
        let container = match stem.rsplit_once('.')?.1 {
            "txt" => Container::Txt,
            "jsonl" => Container::Jsonl,
            "parquet" if codec == Codec::Plain => Container::Parquet,
            _ => return None,
        };
        Some(Self { container, codec })
    }
}

/// Opens the documents of a source. `text_field` is the JSON field or Parquet column of the text.
///
/// The file is streamed: at most a document, a decompression window and, for Parquet, some rows are
/// in memory.
///
/// # Errors
/// The source can't be opened, its name has no known ending, or a Parquet file's footer is damaged
/// or lacks the column. Later faults come from the iterator, with their line, row or frame.
///
/// ```
/// use std::sync::Arc;
/// use evenburn_data::{LocalFile, documents};
/// let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("a.jsonl");
/// std::fs::write(&path, "{\"text\": \"one\"}\n{\"text\": \"two\"}").unwrap();
/// let source = Arc::new(LocalFile::new("a.jsonl".into(), path).unwrap());
/// let texts: Vec<_> = documents(source, "text").unwrap().map(|d| d.unwrap().text).collect();
/// assert_eq!(texts, ["one", "two"]);
/// ```
pub fn documents(source: Arc<dyn Source>, text_field: &str) -> Result<Documents, DataError> {
    counted_documents(source, text_field, &Arc::default())
}

/// Like [`documents`]; `bytes` grows by the stored bytes read.
pub(crate) fn counted_documents(
    source: Arc<dyn Source>,
    text_field: &str,
    bytes: &Arc<AtomicU64>,
) -> Result<Documents, DataError> {
    let path = source.location().to_path_buf();
    let Some(format) = Format::of(source.name()) else {
        return Err(DataError::UnknownFormat {
            path,
            extensions: EXTENSIONS.join(", "),
        });
    };
    if format.container == Container::Parquet {
        return parquet::open(source, text_field, bytes);
    }
    let inner = source.open().map_err(|e| DataError::io("open", &path, e))?;
    let counted = Counted {
        inner,
        count: Arc::clone(bytes),
    };
    let raw = BufReader::with_capacity(1 << 17, counted);
    let text = BufReader::with_capacity(1 << 17, Frames::new(raw, format.codec));
    let lines = Lines::new(text, path);
    Ok(match format.container {
        Container::Txt => Box::new(txt::Txt::new(lines)),
        _ => Box::new(jsonl::Jsonl::new(lines, text_field)),
    })
}
