//! The one error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

use evenburn_data::DataError;
use evenburn_locations::LocationError;

use crate::{Place, ScoreError};

/// What can go wrong between the file of a task and its metrics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A file can't be opened or read.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the storage answers.
        source: io::Error,
    },
    /// The name of a file ends in nothing that is read here.
    #[error("{path}: unknown format (can read {formats})", path = path.display(), formats = crate::FORMATS)]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A Parquet file is damaged.
    #[error("{path}: {message}", path = path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A line or row holds no document.
    #[error("{place}: {message}")]
    Record {
        /// Where.
        place: Place,
        /// What is wrong with it.
        message: String,
    },
    /// A document can't be asked about.
    #[error("{place}, `{field}` of task `{task}`: {message}")]
    Document {
        /// Where the document lies.
        place: Box<Place>,
        /// The task.
        task: String,
        /// The field of the task's file that was to be made of it.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// The file of a task is none.
    #[error("{origin}{place}: {message}", place = at(field.as_deref()))]
    Task {
        /// Its path.
        origin: String,
        /// The field in question.
        field: Option<String>,
        /// What is wrong with it.
        message: String,
    },
    /// No task has this name.
    #[error("no task is called `{name}`{near}; a file of a task ends in .toml", near = like(near))]
    UnknownTask {
        /// The name.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// Two tasks have the same name.
    #[error("{origin}: a task called `{name}` is known already")]
    SameName {
        /// The file of the second one.
        origin: String,
        /// The name.
        name: String,
    },
    /// Examples were asked for that a task hasn't got.
    #[error("task `{task}`: {message}")]
    Examples {
        /// The task.
        task: String,
        /// What is missing.
        message: String,
    },
    /// The data of a task isn't where its file says.
    #[error("task `{task}`: {source}")]
    Data {
        /// The task.
        task: String,
        /// What the place answers, and what there is.
        source: Box<DataError>,
    },
    /// There are no documents, or no such file in the folder that stands for all data sets.
    #[error("task `{task}`: {message}")]
    NoData {
        /// The task.
        task: String,
        /// What was looked for.
        message: String,
    },
    /// A model can't be asked.
    #[error("task `{task}`: {source}")]
    Score {
        /// The task.
        task: String,
        /// Why.
        source: ScoreError,
    },
    /// There are more or fewer answers than questions.
    #[error("task `{task}` asks {requests} questions and was given {scores} answers")]
    Scores {
        /// The task.
        task: String,
        /// How many questions it asks.
        requests: usize,
        /// How many answers there are.
        scores: usize,
    },
    /// The tokenizer fails.
    #[error("tokenizer: {message}")]
    Tokenizer {
        /// What it says.
        message: String,
    },
}

impl EvalError {
    /// Whether something that was given is wrong, rather than a disk, a network or a device.
    ///
    /// ```
    /// use evenburn_eval::TaskRegistry;
    /// let error = TaskRegistry::built_in()?.select("helaswag").unwrap_err();
    /// assert!(error.is_wrong_input() && !error.is_interrupted());
    /// # Ok::<(), evenburn_eval::EvalError>(())
    /// ```
    pub fn is_wrong_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => match LocationError::within(source) {
                Some(error) => !matches!(error, LocationError::Unavailable { .. }),
                None => source.kind() == io::ErrorKind::NotFound,
            },
            Self::Data { source, .. } => source.is_wrong_input(),
            Self::Score { source, .. } => matches!(source, ScoreError::Token(_)),
            Self::Scores { .. } => false,
            _ => true,
        }
    }

    /// Whether whoever watches has ended it.
    pub fn is_interrupted(&self) -> bool {
        let interrupted = |source: &ScoreError| matches!(source, ScoreError::Interrupted);
        matches!(self, Self::Score { source, .. } if interrupted(source))
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

fn at(field: Option<&str>) -> String {
    field.map_or_else(String::new, |field| format!(", `{field}`"))
}

fn like(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!(" (there is {})", names.join(", "))
}
