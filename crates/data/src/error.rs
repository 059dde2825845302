//! The one error type of this crate.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use evenburn_locations::LocationError;

/// What can go wrong between a text file and a batch of tokens.
///
/// Every variant carries where it happened: the file and the line, row or compressed frame, or the
/// configuration key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A configuration key has a value that can't be used.
    #[error("{field}: {message}")]
    Config {
        /// The key with its section, such as `data.path`.
        field: Cow<'static, str>,
        /// What is wrong with its value.
        message: String,
    },
    /// A file or folder that was named doesn't exist.
    #[error("no such file or folder: {path}", path = path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// Nothing is at a path that a key gives.
    #[error(
        "{key}: no such file or folder: {path}; if the text lies elsewhere now, give that place with --{key}"
    )]
    NoTextPlace {
        /// The key.
        key: &'static str,
        /// The path as it was given.
        path: String,
    },
    /// A place that a key names can't be listed or read.
    #[error("{key}: {source}")]
    Place {
        /// The key.
        key: &'static str,
        /// What its place answers.
        source: LocationError,
    },
    /// A file that lies elsewhere can't be read.
    #[error(transparent)]
    Location(LocationError),
    /// A glob pattern is malformed.
    #[error("bad glob pattern `{pattern}`: {message}")]
    Pattern {
        /// The pattern as it was given.
        pattern: String,
        /// The parser's complaint.
        message: String,
    },
    /// A glob pattern matches no file, or a folder holds none that can be read.
    #[error("`{pattern}` ({key}) matches no data file (looked for {formats})")]
    NothingMatched {
        /// The key that gives it.
        key: &'static str,
        /// The pattern or folder.
        pattern: String,
        /// What is read.
        formats: String,
    },
    /// A data set hasn't got the part of it that is asked for.
    #[error("{place}: {message}")]
    NoSplit {
        /// The data set.
        place: String,
        /// What was looked for, and what there is.
        message: String,
    },
    /// The name of a file ends in nothing this crate decodes.
    #[error("{path}: unknown format (can read {formats})", path = path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What is read.
        formats: String,
    },
    /// A file whose name promises text holds something else.
    #[error("{path}: {message}", path = path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        message: String,
    },
    /// A file stands for one that is kept elsewhere.
    #[error("{path}: {message}", path = path.display())]
    Pointer {
        /// The file.
        path: PathBuf,
        /// What it is, and what fetches the other.
        message: String,
    },
    /// The first line of a `.json` begins an object that can't be used as a document.
    #[error("{path}: {message}", path = path.display())]
    FirstObject {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A file is no longer what it was when it was listed.
    #[error("{path} changed while it was read; run again once nothing writes to it", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// An operating-system call failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A line of a text or JSON-lines file can't be used.
    #[error("{path}, line {line}: {message}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1, in the decompressed text.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// A compressed frame (zstd) or member (gzip) is damaged.
    #[error("{path}, {codec} frame {frame} (after line {line} of its text): {message}", path = path.display())]
    Frame {
        /// The file.
        path: PathBuf,
        /// `zstd` or `gzip`.
        codec: &'static str,
        /// The frame, from 1.
        frame: u64,
        /// The last complete line before the damage, from 1; 0 if there is none.
        line: u64,
        /// The decompressor's complaint.
        message: String,
    },
    /// A Parquet file can't be read, or lacks the column.
    #[error("{path}: {message}", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A row of a Parquet file can't be used.
    #[error("{path}, row {row} (row group {row_group}): {message}", path = path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row in the file, from 0.
        row: u64,
        /// The row group it lies in, from 0.
        row_group: usize,
        /// What is wrong with it.
        message: String,
    },
    /// A tokenizer can't be loaded, trained or used.
    #[error("tokenizer {path}: {message}", path = path.display())]
    Tokenizer {
        /// Its file, or `(trained)` for one that was just learned.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The tokenizer has no token of the name that should end or begin a document.
    #[error(
        "tokenizer {path} has no token `{wanted}`; set {key} to one of its added tokens: {}",
        list(candidates), path = path.display()
    )]
    NoToken {
        /// The tokenizer's file.
        path: PathBuf,
        /// The key that names the token.
        key: &'static str,
        /// The token looked for.
        wanted: String,
        /// The tokenizer's added tokens.
        candidates: Vec<String>,
    },
    /// The tokenizer has ids that the model has no embedding for.
    #[error(
        "the tokenizer's vocabulary has {tokenizer} entries but model.vocab_size is {model}; raise model.vocab_size to at least {tokenizer}"
    )]
    Vocabulary {
        /// Largest id of the tokenizer plus one.
        tokenizer: usize,
        /// Entries of the model's embedding.
        model: usize,
    },
    /// A cache file isn't what its manifest says.
    #[error(
        "damaged cache file {path}: {message}; delete the folder {cache} and run again to rebuild it",
        path = path.display(), cache = cache.display()
    )]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// How it differs.
        message: String,
        /// The cache folder to delete.
        cache: PathBuf,
    },
    /// A split holds too little text for even one sample.
    #[error(
        "the {split} split yields no sample: it has {tokens} tokens in {windows} window(s), the longest of {longest}, and one sample of context {context} needs {} tokens in one window; {advice}",
        context + 1
    )]
    TooFewTokens {
        /// What helps.
        advice: &'static str,
        /// `train` or `validation`.
        split: &'static str,
        /// Tokens of the split.
        tokens: u64,
        /// Its windows.
        windows: usize,
        /// Tokens of the longest window.
        longest: u64,
        /// The context that was asked for.
        context: usize,
    },
    /// A cursor doesn't point into the store, so it belongs to other data or another context.
    #[error(
        "the data cursor (epoch {epoch}, shard {shard}, window {window}, sample {sample}) lies outside the data: {message}"
    )]
    Cursor {
        /// Its epoch.
        epoch: u64,
        /// Its shard position.
        shard: usize,
        /// Its window of the shard.
        window: usize,
        /// Its sample in the window.
        sample: u64,
        /// The bound it exceeds.
        message: String,
    },
    /// The [`Progress`](crate::Progress) callback asked to stop. What is complete stays in the cache.
    #[error("stopped while preparing the data; run again to continue where it stopped")]
    Interrupted,
}

impl DataError {
    /// Whether the fault is in what the user gave (a path, a file's contents, a key), rather than a
    /// failure of the machine or of the cache.
    ///
    /// ```
    /// use evenburn_data::DataError;
    /// let e = DataError::Missing { path: "corpus.jsonl".into() };
    /// assert!(e.is_wrong_input());
    /// assert!(!DataError::Interrupted.is_wrong_input());
    /// ```
    pub fn is_wrong_input(&self) -> bool {
        match self {
            // A folder where a file was to be named, or a file that holds no text.
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::InvalidData
            ),
            // A server or a disk that fails, a network that isn't there.
            Self::Place { source: error, .. } | Self::Location(error) => {
                !matches!(error, LocationError::Unavailable { .. })
            }
            Self::Damaged { .. } | Self::Interrupted => false,
            _ => true,
        }
    }

    /// Where a record is that can't be used, and what is wrong with it; nothing for any other error. The storage's errors are
    /// none: bytes that don't pass their digest, or that can't be had, are no damaged documents.
    pub(crate) fn of_record(&self) -> Option<String> {
        match self {
            Self::Line { line, message, .. } => Some(format!("line {line}: {message}")),
            Self::Row {
                row,
                row_group,
                message,
                ..
            } => Some(format!("row {row} (row group {row_group}): {message}")),
            Self::Frame {
                codec,
                frame,
                line,
                message,
                ..
            } => Some(format!(
                "{codec} frame {frame} and what follows (after line {line}): {message}"
            )),
            _ => None,
        }
    }

    /// Wraps an operating-system error; a missing file becomes [`DataError::Missing`], and what a place answers
    /// [`DataError::Location`].
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        if let Some(error) = LocationError::within(&source) {
            return Self::Location(error.clone());
        }
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            _ => Self::Io {
                action,
                path,
                source,
            },
        }
    }

    pub(crate) fn config(field: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::Config {
            field: field.into(),
            message: message.into(),
        }
    }
}

impl From<evenburn_files::FileError> for DataError {
    fn from(error: evenburn_files::FileError) -> Self {
        Self::io(error.action, &error.path, error.source)
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "(it has none)".into();
    }
    let quoted: Vec<_> = names.iter().map(|n| format!("`{n}`")).collect();
    quoted.join(", ")
}
