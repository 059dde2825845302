//! What can be wrong with a folder that is read or a model that is written.

use std::io;
use std::path::{Path, PathBuf};

/// A checkpoint that can't be read, or a model that can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InterchangeError {
    /// A file or folder that can't be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file that isn't what its name says.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A key of `config.json` that is missing or has a value of the wrong type.
    #[error("{}: `{key}` {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// Something that this project can't compute.
    #[error("{}: {what} can't be expressed: {why}", path.display())]
    Inexpressible {
        /// The file that asks for it.
        path: PathBuf,
        /// The key with its value.
        what: String,
        /// The reason.
        why: String,
    },
    /// Tensors that are not those of the configuration, all of them.
    #[error("{}: the tensors are not those of {class}{}", folder.display(), lists(missing, extra, misshapen))]
    Tensors {
        /// The folder.
        folder: PathBuf,
        /// The class whose tensors were expected.
        class: &'static str,
        /// Names that are not there.
        missing: Vec<String>,
        /// Names that nothing reads.
        extra: Vec<String>,
        /// Names with the shape or type that was found and the one that was expected.
        misshapen: Vec<String>,
    },
    /// A model that the class that was asked for can't compute.
    #[error("{class} can't compute this model: {}", reasons.join("; "))]
    OtherFunction {
        /// The class.
        class: &'static str,
        /// Where the two differ.
        reasons: Vec<String>,
    },
    /// Weights that are not those of the plan.
    #[error(transparent)]
    Weights(#[from] evenburn_model::WeightsError),
    /// Sizes that make no model.
    #[error(transparent)]
    Plan(#[from] evenburn_model::PlanError),
}

impl InterchangeError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn malformed(path: &Path, why: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            why: why.into(),
        }
    }

    /// Whether what the user gave is at fault, and not the machine.
    pub fn is_wrong_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => true,
        }
    }
}

impl From<evenburn_files::FileError> for InterchangeError {
    fn from(error: evenburn_files::FileError) -> Self {
        Self::io(error.action, &error.path, error.source)
    }
}

fn lists(missing: &[String], extra: &[String], misshapen: &[String]) -> String {
    [
        ("missing", missing),
        ("unexpected", extra),
        ("of another shape or type", misshapen),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| format!("; {what}: {}", names.join(", ")))
    .collect()
}
