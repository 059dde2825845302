//! Which files a configuration names, and which split each belongs to.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decode::{EXTENSIONS, Format};
use crate::source::{LocalFile, Source};
use crate::{DataConfig, DataError, PathList};

/// A part of the corpus that is tokenized and read apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What it is evaluated on.
    Validation,
}

impl Split {
    /// `train` or `validation`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

/// The split that a folder's, a file's or a document's tag names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Split(Split),
    /// Belongs to neither split.
    Test,
}

impl Tag {
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        match tag {
            "train" => Some(Self::Split(Split::Train)),
            "validation" | "valid" | "val" | "dev" => Some(Self::Split(Split::Validation)),
            "test" => Some(Self::Test),
            _ => None,
        }
    }
}

/// How the documents of one source find their split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Every document is for training.
    Train,
    /// Every document is for validation.
    Validation,
    /// A document's tag decides, or else the hash of its text.
    Mixed,
}

/// A source and its role.
#[derive(Debug, Clone)]
pub struct PlacedSource {
    /// Where the bytes are.
    pub source: Arc<dyn Source>,
    /// Which split they are for.
    pub role: Role,
}

/// Lists the configured sources in the order in which they are tokenized.
///
/// Names sort bytewise within each entry of `data.path`, so that the order is the same everywhere.
///
/// # Errors
/// A missing path, a pattern that matches nothing, a file of unknown format, a file that is
/// training and validation data at once.
pub fn find_sources(config: &DataConfig) -> Result<Vec<PlacedSource>, DataError> {
    config.validate()?;
    let mut found = expand(&config.path, "data.path")?;
    let explicit = match &config.validation_path {
        Some(list) => expand(list, "data.validation_path")?,
        None => Vec::new(),
    };
    if !explicit.is_empty() {
        found.retain(|f| !matches!(f.tag, Some(Tag::Split(Split::Validation))));
        let validation: HashSet<_> = explicit.iter().map(|f| &f.path).collect();
        if let Some(both) = found.iter().find(|f| validation.contains(&f.path)) {
            return Err(DataError::config(
                "data.validation_path",
                format!("{} is in data.path too", both.path.display()),
            ));
        }
    }
    let named = found
        .iter()
        .any(|f| f.tag == Some(Tag::Split(Split::Validation)));
    let default_role = if named || !explicit.is_empty() {
        Role::Train
    } else {
        Role::Mixed
    };
    let mut placed = Vec::new();
    for file in found {
        let role = match file.tag {
            Some(Tag::Test) => continue,
            Some(Tag::Split(Split::Validation)) => Role::Validation,
            Some(Tag::Split(Split::Train)) | None => default_role,
        };
        placed.push(file.place(role)?);
    }
    for file in explicit {
        placed.push(file.place(Role::Validation)?);
    }
    Ok(placed)
}

struct Found {
    name: String,
    path: PathBuf,
    tag: Option<Tag>,
}

impl Found {
    fn place(self, role: Role) -> Result<PlacedSource, DataError> {
        let source = LocalFile::new(self.name, self.path.clone())
            .map_err(|e| DataError::io("read", &self.path, e))?;
        Ok(PlacedSource {
            source: Arc::new(source),
            role,
        })
    }
}

fn expand(list: &PathList, field: &'static str) -> Result<Vec<Found>, DataError> {
    let mut found = Vec::new();
    let mut paths = HashSet::new();
    for entry in &list.0 {
        if entry.is_empty() {
            return Err(DataError::config(field, "has an empty path"));
        }
        let files = expand_one(entry)?.into_iter();
        found.extend(files.filter(|file| paths.insert(file.path.clone())));
    }
    Ok(found)
}

fn expand_one(entry: &str) -> Result<Vec<Found>, DataError> {
    let path = Path::new(entry);
    let mut files = BTreeMap::new();
    let base = if path.is_dir() {
        let mut walk = Walk::default();
        walk.folder(path, path)?;
        files = walk.files;
        path.to_path_buf()
    } else if path.exists() {
        if Format::of(entry).is_none() {
            return Err(DataError::UnknownFormat {
                path: path.to_path_buf(),
                extensions: EXTENSIONS.join(", "),
            });
        }
        // The user named this very file: its name says nothing about splits.
        let name = path
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        return Ok(vec![Found {
            name,
            path: path.to_path_buf(),
            tag: None,
        }]);
    } else if entry.contains(['*', '?', '[']) {
        let base = fixed_prefix(path);
        for hit in glob::glob(entry).map_err(|e| DataError::Pattern {
            pattern: entry.into(),
            message: e.to_string(),
        })? {
            let hit = hit.map_err(|e| {
                let path = e.path().to_path_buf();
                DataError::io("read", &path, e.into())
            })?;
            if hit.is_file() && Format::of(&hit.to_string_lossy()).is_some() {
                files.insert(relative(&base, &hit), hit);
            }
        }
        base
    } else {
        return Err(DataError::Missing {
            path: path.to_path_buf(),
        });
    };
    if files.is_empty() {
        return Err(DataError::NothingMatched {
            pattern: entry.into(),
            extensions: EXTENSIONS.join(", "),
        });
    }
    Ok(files
        .into_iter()
        .map(|(name, path)| Found {
            tag: tag_of(path.strip_prefix(&base).unwrap_or(&path)),
            name,
            path,
        })
        .collect())
}

/// The data files below a folder.
#[derive(Default)]
struct Walk {
    files: BTreeMap<String, PathBuf>,
    /// Folders entered, resolved: a link back to one of them is not followed again.
    entered: HashSet<PathBuf>,
}

impl Walk {
    /// Reads a folder recursively, leaving out hidden entries (a hub's download cache is one).
    fn folder(&mut self, base: &Path, folder: &Path) -> Result<(), DataError> {
        let fault = |e| DataError::io("list", folder, e);
        if !self.entered.insert(folder.canonicalize().map_err(fault)?) {
            return Ok(());
        }
        for entry in fs::read_dir(folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                self.folder(base, &path)?;
            } else if Format::of(&name).is_some() {
                self.files.insert(relative(base, &path), path);
            }
        }
        Ok(())
    }
}

/// The leading components of a pattern that hold no wildcard.
fn fixed_prefix(pattern: &Path) -> PathBuf {
    pattern
        .components()
        .take_while(|c| !c.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect()
}

fn relative(base: &Path, path: &Path) -> String {
    let parts: Vec<_> = path
        .strip_prefix(base)
        .unwrap_or(path)
        .components()
        .filter(|c| matches!(c, Component::Normal(_)))
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    parts.join("/")
}

/// `train/chunk1/a.jsonl.zst` and `data/train-00000-of-00080.parquet` both say `train`; the
/// outermost component that names a split decides.
fn tag_of(relative: &Path) -> Option<Tag> {
    let mut parts: Vec<_> = relative
        .components()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    let file = parts.pop()?;
    let stem = file.split(['.', '-']).next().unwrap_or_default().to_owned();
    parts.push(stem);
    parts.iter().find_map(|p| Tag::parse(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(config: &DataConfig) -> Vec<(String, Role)> {
        find_sources(config)
            .unwrap()
            .into_iter()
            .map(|p| (p.source.name().to_owned(), p.role))
            .collect()
    }

    fn touch(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
    }

    fn config(path: &Path) -> DataConfig {
        DataConfig {
            path: path.to_str().unwrap().into(),
            ..Default::default()
        }
    }

    #[test]
    fn slimpajama_layout() {
        let dir = tempfile::tempdir().unwrap();
        touch(
            dir.path(),
            &[
                "train/chunk2/example_train_0.jsonl.zst",
                "train/chunk1/example_train_1.jsonl.zst",
                "validation/chunk1/example_holdout_0.jsonl.zst",
                "test/chunk1/example_holdout_0.jsonl.zst",
                "README.md",
                ".cache/x.jsonl",
            ],
        );
        let want = vec![
            (
                "train/chunk1/example_train_1.jsonl.zst".to_owned(),
                Role::Train,
            ),
            (
                "train/chunk2/example_train_0.jsonl.zst".to_owned(),
                Role::Train,
            ),
            (
                "validation/chunk1/example_holdout_0.jsonl.zst".to_owned(),
                Role::Validation,
            ),
        ];
        assert_eq!(roles(&config(dir.path())), want);
    }

    #[test]
    fn parquet_file_names_say_the_split() {
        let dir = tempfile::tempdir().unwrap();
        touch(
            dir.path(),
            &[
                "data/train-0.parquet",
                "data/validation-0.parquet",
                "data/test-0.parquet",
            ],
        );
        let found = roles(&config(dir.path()));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1, Role::Train);
        assert_eq!(found[1].1, Role::Validation);
        fs::remove_file(dir.path().join("data/validation-0.parquet")).unwrap();
        assert_eq!(
            roles(&config(dir.path())),
            vec![("data/train-0.parquet".to_owned(), Role::Mixed)]
        );
    }

    #[test]
    fn globs_and_named_files() {
        let dir = tempfile::tempdir().unwrap();
        touch(
            dir.path(),
            &["a/1.jsonl", "a/2.jsonl", "a/3.csv", "b/test.txt"],
        );
        let glob = dir.path().join("a/*");
        assert_eq!(roles(&config(&glob)).len(), 2);
        // A file the user names is read, whatever it is called.
        assert_eq!(
            roles(&config(&dir.path().join("b/test.txt"))),
            vec![("test.txt".to_owned(), Role::Mixed)]
        );
        let with_validation = DataConfig {
            validation_path: Some(dir.path().join("a/2.jsonl").to_str().unwrap().into()),
            ..config(&dir.path().join("a/1.jsonl"))
        };
        assert_eq!(
            roles(&with_validation),
            vec![
                ("1.jsonl".to_owned(), Role::Train),
                ("2.jsonl".to_owned(), Role::Validation)
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["text/a.txt", "blobs/1234"]);
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(dir.path().join(to), dir.path().join(at)).unwrap();
        };
        link("text", "text/again");
        link("blobs/1234", "text/b.txt");
        let names: Vec<_> = roles(&config(&dir.path().join("text")))
            .into_iter()
            .map(|f| f.0)
            .collect();
        assert_eq!(names, ["a.txt", "b.txt"]);
    }

    #[test]
    fn errors_say_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        touch(dir.path(), &["a/1.jsonl", "a/3.csv", "empty/x.md"]);
        let fails = |p: &str| find_sources(&config(&dir.path().join(p))).unwrap_err();
        assert!(matches!(fails("nope.jsonl"), DataError::Missing { .. }));
        assert!(matches!(
            fails("a/*.parquet"),
            DataError::NothingMatched { .. }
        ));
        assert!(matches!(fails("empty"), DataError::NothingMatched { .. }));
        assert!(matches!(fails("a/3.csv"), DataError::UnknownFormat { .. }));
        assert!(matches!(fails("a/***"), DataError::Pattern { .. }));
        let both = DataConfig {
            validation_path: Some(dir.path().join("a/1.jsonl").to_str().unwrap().into()),
            ..config(&dir.path().join("a/1.jsonl"))
        };
        assert!(
            find_sources(&both)
                .unwrap_err()
                .to_string()
                .contains("data.validation_path")
        );
        assert!(
            find_sources(&DataConfig::default())
                .unwrap_err()
                .to_string()
                .contains("data.path")
        );
    }
}
