//! From what a task says of its data to files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evenburn_data::{DataSetFiles, Source};
use evenburn_locations::Storage;
use serde::Serialize;

use crate::{DataSet, EvalError, FORMATS, Task, documents};

/// The endings of files that stand for a task's data, in the order in which they are looked for.
const ENDINGS: [&str; 7] = [
    "jsonl",
    "parquet",
    "jsonl.zst",
    "jsonl.gz",
    "ndjson",
    "jsonlines",
    "json",
];

/// Finds the data of tasks: at the places that their files name, or in a folder that stands for all of these.
///
/// In the folder `DIR`, the documents of a task are `DIR/TASK.jsonl` or `DIR/TASK.parquet`, and its examples
/// `DIR/TASK.train.jsonl` or `DIR/TASK.train.parquet`; a data set `hf://datasets/OWNER/NAME` may lie in `DIR/OWNER/NAME` as
/// its repository has it.
///
/// Every data set is listed once, so that all of it is of one commit.
#[derive(Debug)]
pub struct DataSets {
    storage: Storage,
    folder: Option<PathBuf>,
    opened: Mutex<HashMap<String, Arc<DataSetFiles>>>,
}

/// Where documents were found, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DataOrigin {
    /// The place: a repository at the commit that was read.
    pub place: String,
    /// The configuration, where the task names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The split, where the task names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The commit of a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Files of documents, in order.
#[derive(Debug, Clone)]
pub struct FoundData {
    /// Where they were found.
    pub origin: DataOrigin,
    /// The files.
    pub sources: Vec<Arc<dyn Source>>,
}

impl FoundData {
    /// All documents, one file after the other.
    pub fn documents(&self) -> impl Iterator<Item = Result<crate::Document, EvalError>> + use<> {
        let sources = self.sources.clone();
        sources.into_iter().flat_map(|source| {
            let (found, failed) = match documents(&*source) {
                Ok(found) => (Some(found), None),
                Err(error) => (None, Some(Err(error))),
            };
            found.into_iter().flatten().chain(failed)
        })
    }
}

impl DataSets {
    /// Data at the places that tasks name, or, where a `folder` is given, nowhere but in it. (Files that a task's own file
    /// names beside itself are read where they are.)
    pub fn new(storage: Storage, folder: Option<PathBuf>) -> Self {
        Self {
            storage,
            folder,
            opened: Mutex::default(),
        }
    }

    /// The documents that a task asks about.
    ///
    /// # Errors
    /// They aren't where they should be; the error says what was looked for and what there is.
    pub fn documents(&self, task: &Task) -> Result<FoundData, EvalError> {
        self.find(task, task.dataset(), "")
    }

    /// The documents that a task has its examples from.
    ///
    /// # Errors
    /// As [`documents`](Self::documents), and a task without examples.
    pub fn examples(&self, task: &Task) -> Result<FoundData, EvalError> {
        let Some(examples) = task.examples() else {
            return Err(EvalError::Examples {
                task: task.name().into(),
                message: "its file has no [examples]".into(),
            });
        };
        let (own, pool) = (task.dataset(), examples.dataset());
        if own == pool {
            return self.documents(task);
        }
        self.find(task, pool, ".train")
    }

    fn find(&self, task: &Task, set: &DataSet, ending: &str) -> Result<FoundData, EvalError> {
        let Some(folder) = self.folder.as_deref().filter(|_| set.path.contains("://")) else {
            return self.split(task, &set.path, set);
        };
        let names = std::iter::once(task.name()).chain(task.aliases().iter().map(String::as_str));
        for name in names {
            for format in ENDINGS {
                let file = folder.join(format!("{name}{ending}.{format}"));
                if file.is_file() {
                    let alone = DataSet {
                        path: file.display().to_string(),
                        config: None,
                        split: None,
                    };
                    return self.split(task, &alone.path, &alone);
                }
            }
        }
        let file = folder.join(format!("{}{ending}.jsonl", task.name()));
        let mut looked = format!("{} (or .parquet)", file.display());
        if let Some(repository) = repository(&set.path) {
            let copy = folder.join(repository);
            if copy.is_dir() {
                return self.split(task, &copy.display().to_string(), set);
            }
            looked = format!("{looked} and {}", copy.display());
        }
        Err(EvalError::NoData {
            task: task.name().into(),
            message: format!(
                "{} has neither of {looked}; without --data it is read from {}",
                folder.display(),
                set.path
            ),
        })
    }

    fn split(&self, task: &Task, place: &str, set: &DataSet) -> Result<FoundData, EvalError> {
        let fault = |source| EvalError::Data {
            task: task.name().into(),
            source: Box::new(source),
        };
        let files = self.open(place).map_err(fault)?;
        let sources = files.split(set.config.as_deref(), set.split.as_deref());
        Ok(FoundData {
            origin: DataOrigin {
                place: files.place().to_owned(),
                config: set.config.clone(),
                split: set.split.clone(),
                commit: files.commit().map(str::to_owned),
            },
            sources: sources.map_err(fault)?,
        })
    }

    fn open(&self, place: &str) -> Result<Arc<DataSetFiles>, evenburn_data::DataError> {
        let opened = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = opened().get(place) {
            return Ok(Arc::clone(files));
        }
        if !place.contains("://") && !Path::new(place).exists() {
            return Err(evenburn_data::DataError::Missing { path: place.into() });
        }
        let files = Arc::new(DataSetFiles::open(place, &self.storage)?);
        opened().insert(place.to_owned(), Arc::clone(&files));
        Ok(files)
    }
}

/// `OWNER/NAME` of a data set of the hub.
fn repository(path: &str) -> Option<&str> {
    let repository = path.strip_prefix("hf://datasets/")?;
    let (repository, _) = repository.split_once('@').unwrap_or((repository, ""));
    let end = repository.match_indices('/').nth(1);
    Some(end.map_or(repository, |(at, _)| &repository[..at]))
}

/// What an error says where no file holds a document.
pub(crate) fn no_documents(task: &Task, origin: &DataOrigin) -> EvalError {
    EvalError::NoData {
        task: task.name().into(),
        message: format!("{} holds no documents (can read {FORMATS})", origin.place),
    }
}
