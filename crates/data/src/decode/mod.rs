//! From a source's bytes to its documents, one at a time.

mod bad_records;
mod contained;
mod frames;
mod jsonl;
mod lines;
mod parquet;
mod record;
mod txt;

use std::io::{BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::DataError;
use crate::source::{Counted, Source};
use crate::split::Tag;
pub use bad_records::{BadRecords, Documents};
pub use contained::contained;
use frames::{Codec, Frames};
use lines::Lines;

/// What is read, in words.
pub const FORMATS: &str = "plain text (.txt, .text), JSON lines (.jsonl, .ndjson, .jsonlines, .json), either also as .zst, .zstd, .gz or .gzip, and Parquet (.parquet, .pq)";

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Txt,
    Jsonl,
    /// Ends in `.json`: JSON lines, or some other JSON.
    Json,
    Parquet,
}

/// How a source is decoded, told by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    container: Container,
    codec: Codec,
}

/// Endings of the text itself.
const CONTAINERS: [(&str, Container); 8] = [
    (".txt", Container::Txt),
    (".text", Container::Txt),
    (".jsonl", Container::Jsonl),
    (".ndjson", Container::Jsonl),
    (".jsonlines", Container::Jsonl),
    (".json", Container::Json),
    (".parquet", Container::Parquet),
    (".pq", Container::Parquet),
];

/// Endings of compression.
const CODECS: [(&str, Codec); 4] = [
    (".zst", Codec::Zstd),
    (".zstd", Codec::Zstd),
    (".gz", Codec::Gzip),
    (".gzip", Codec::Gzip),
];

impl Format {
    /// The format of a file name, in any case, if it is one of [`FORMATS`].
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::parse(name).map(|(format, _)| format)
    }

    /// A file name without the endings that say its format.
    pub(crate) fn stem(name: &str) -> &str {
        Self::parse(name).map_or(name, |(_, stem)| stem)
    }

    fn parse(name: &str) -> Option<(Self, &str)> {
        let (rest, codec) = strip(name, &CODECS).unwrap_or((name, Codec::Plain));
        let (stem, container) = strip(rest, &CONTAINERS)?;
        // Parquet compresses its pages itself.
        let format = Self { container, codec };
        (container != Container::Parquet || codec == Codec::Plain).then_some((format, stem))
    }
}

/// A name without the one of some endings that it has, and what that one means.
fn strip<'a, T: Copy>(name: &'a str, endings: &[(&str, T)]) -> Option<(&'a str, T)> {
    let lower = name.to_ascii_lowercase();
    endings.iter().find_map(|(ending, meaning)| {
        let stem = lower.strip_suffix(ending)?;
        Some((&name[..stem.len()], *meaning))
    })
}

/// Opens the documents of a source. `text_field` is the JSON field or Parquet column of the text.
///
/// The file is streamed: at most a document, a decompression window and, for Parquet, some rows are
/// in memory.
///
/// # Errors
/// The source can't be opened, its name has no known ending, or a Parquet file's footer is damaged
/// or lacks the column. [`DataError::NoText`] where it is no text at all: an empty file, a `.json` that is not JSON lines;
/// [`DataError::Pointer`] where it stands for a file kept elsewhere; [`DataError::FirstObject`] where a `.json` begins with
/// an object that is no document. Later faults come from the iterator, with their line, row or frame.
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
            formats: FORMATS.into(),
        });
    };
    let no_text = |message: String| DataError::NoText {
        path: path.clone(),
        message,
    };
    if source.size() == 0 {
        return Err(no_text("is empty".into()));
    }
    let open = || source.open().map_err(|e| DataError::io("open", &path, e));
    if source.size() <= POINTER_BYTES {
        let mut start = Vec::new();
        open()?
            .read_to_end(&mut start)
            .map_err(|e| DataError::io("read", &path, e))?;
        if let Some((_, what)) = POINTERS.iter().find(|(mark, _)| start.starts_with(mark)) {
            return Err(DataError::Pointer {
                path,
                message: (*what).into(),
            });
        }
    }
    if format.container == Container::Parquet {
        return parquet::open(source, text_field, bytes);
    }
    let counted = Counted {
        inner: open()?,
        count: Arc::clone(bytes),
    };
    let raw = BufReader::with_capacity(1 << 17, counted);
    let text = BufReader::with_capacity(1 << 17, Frames::new(raw, format.codec));
    let lines = Lines::new(text, path.clone());
    match format.container {
        Container::Txt => Ok(Documents::new(Box::new(txt::Txt::new(lines)))),
        Container::Json => {
            let mut documents = jsonl::Jsonl::new(lines, text_field);
            let first = documents.next().transpose();
            let first = first.map_err(|e| match e {
                DataError::Line { message, .. } => {
                    let message = format!("has no document in its first line: {message}");
                    if documents.has_object() {
                        let path = path.clone();
                        DataError::FirstObject { path, message }
                    } else {
                        no_text(message)
                    }
                }
                other => other,
            })?;
            let all = first.map(Ok).into_iter().chain(documents);
            Ok(Documents::new(Box::new(all)))
        }
        _ => Ok(Documents::new(Box::new(jsonl::Jsonl::new(
            lines, text_field,
        )))),
    }
}

/// How many bytes a source decompresses to, as far as it can be read; nothing for Parquet, which decompresses its pages
/// itself.
pub(crate) fn decompressed(source: &Arc<dyn Source>) -> Option<u64> {
    let format = Format::of(source.name())?;
    if format.container == Container::Parquet {
        return None;
    }
    let raw = BufReader::with_capacity(1 << 17, source.open().ok()?);
    let mut frames = Frames::new(raw, format.codec);
    let (mut buffer, mut bytes) = (vec![0; 1 << 17], 0);
    while let Ok(read @ 1..) = frames.read(&mut buffer) {
        bytes += read as u64;
    }
    Some(bytes)
}

/// A pointer to a file that is kept elsewhere is at most this long: Git LFS allows 1024 bytes.
const POINTER_BYTES: u64 = 1024;

/// How such pointers begin, and what they are.
const POINTERS: [(&[u8], &str); 2] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "is a Git LFS pointer; `git lfs pull` fetches the file",
    ),
    (
        b"/annex/objects/",
        "is a git-annex pointer; `git annex get` fetches the file",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_names() {
        let plain = |container| Some((container, Codec::Plain));
        for (name, format, stem) in [
            ("a.txt", plain(Container::Txt), "a"),
            ("A.TXT", plain(Container::Txt), "A"),
            ("a.b.jsonl", plain(Container::Jsonl), "a.b"),
            ("a.JSONL", plain(Container::Jsonl), "a"),
            ("a.ndjson", plain(Container::Jsonl), "a"),
            ("a.json", plain(Container::Json), "a"),
            (
                "c4-train.0.json.gz",
                Some((Container::Json, Codec::Gzip)),
                "c4-train.0",
            ),
            ("a.jsonl.zstd", Some((Container::Jsonl, Codec::Zstd)), "a"),
            ("a.Txt.GZ", Some((Container::Txt, Codec::Gzip)), "a"),
            (
                "über.jsonl.zst",
                Some((Container::Jsonl, Codec::Zstd)),
                "über",
            ),
            ("a.parquet", plain(Container::Parquet), "a"),
            ("a.parquet.zst", None, "a.parquet.zst"),
            ("a.csv", None, "a.csv"),
            ("part-0.gz", None, "part-0.gz"),
            ("jsonl", None, "jsonl"),
        ] {
            let found = Format::of(name).map(|f| (f.container, f.codec));
            assert_eq!((found, Format::stem(name)), (format, stem), "{name}");
        }
    }
}
