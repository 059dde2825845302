//! A folder of cases on disk.

use anyhow::{Context, Result, anyhow, ensure};
use evenburn::data::LocalFile;
use evenburn_eval::{Document, Documents, TaskRegistry, documents};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::asked::{Asked, Setting};

/// The endings of files of documents; the first that there is is read.
pub(super) const ENDINGS: [&str; 2] = ["jsonl", "parquet"];

/// The documents that are single requests.
const REQUESTS: &str = "requests";

/// A folder with `model`, `tasks` and perhaps `expected.json`.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    expected: Option<Value>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let tasks = path.join("tasks");
        ensure!(
            tasks.is_dir(),
            "{}: no folder of cases (model, tasks, expected.json)",
            path.display()
        );
        let file = path.join("expected.json");
        let expected = match std::fs::read_to_string(&file) {
            Ok(text) => {
                let value = serde_json::from_str(&text);
                Some(value.with_context(|| file.display().to_string())?)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).with_context(|| file.display().to_string()),
        };
        Ok(Self {
            path: path.to_path_buf(),
            expected,
        })
    }

    pub(super) fn model(&self) -> PathBuf {
        self.path.join("model")
    }

    /// What the harness computed.
    pub(super) fn expected(&self) -> Option<&Value> {
        self.expected.as_ref()
    }

    /// The file of a task's documents, with one of [`ENDINGS`].
    pub(super) fn file(&self, name: &str, ending: &str) -> Option<PathBuf> {
        let file = self.path.join("tasks").join(format!("{name}.{ending}"));
        file.is_file().then_some(file)
    }

    /// The single requests, where there are any.
    pub(super) fn requests(&self) -> Result<Option<Vec<Document>>> {
        let file = ENDINGS.iter().find_map(|end| self.file(REQUESTS, end));
        file.map(|file| read(&file)).transpose()
    }

    /// The names of files of documents, without those of examples and single requests.
    fn files(&self) -> Result<BTreeSet<String>> {
        let folder = self.path.join("tasks");
        let mut names = BTreeSet::new();
        let entries = std::fs::read_dir(&folder);
        for entry in entries.with_context(|| folder.display().to_string())? {
            let name = entry?.file_name();
            let Some((name, end)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
                continue;
            };
            if ENDINGS.contains(&end) && name != REQUESTS && !name.contains('.') {
                names.insert(name.to_owned());
            }
        }
        Ok(names)
    }

    /// What is to be computed: what `expected.json` names, or else every task that has a file.
    pub(super) fn asked(&self, registry: &TaskRegistry) -> Result<Asked> {
        let mut asked = Asked::default();
        let files = self.files()?;
        let Some(expected) = &self.expected else {
            for name in files {
                match registry.select(&name) {
                    Ok(_) => asked.tasks.push(Setting::plain(name)),
                    Err(why) => asked.notes.push(format!("{name}: left out, {why}")),
                }
            }
            return Ok(asked);
        };
        let tasks = expected.get("tasks").and_then(Value::as_object);
        let tasks = tasks.ok_or_else(|| anyhow!("expected.json: `tasks` is no object"))?;
        for (name, entry) in tasks {
            asked.tasks.push(Setting::read(name, entry)?);
        }
        for name in files {
            if !asked.tasks.iter().any(|setting| setting.base == name) {
                let note = format!("{name}: left out, expected.json has no task that reads it");
                asked.notes.push(note);
            }
        }
        Ok(asked)
    }
}

/// The documents of a file, one after the other.
///
/// # Errors
/// The file can't be opened, or its name has another ending than those of documents.
pub fn documents_of(path: &Path) -> Result<Documents> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let source = LocalFile::new(name.into_owned(), path.to_path_buf())?;
    Ok(documents(&source)?)
}

/// The documents of a file, none of which may be damaged.
pub(super) fn read(path: &Path) -> Result<Vec<Document>> {
    Ok(documents_of(path)?.collect::<Result<_, _>>()?)
}
