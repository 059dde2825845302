//! Files, folders and glob patterns of the local file system.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use glob::{MatchOptions, glob_with};

use super::{Found, LeftOut, Listing};
use crate::DataError;
use crate::decode::{FORMATS, Format};
use crate::source::{LocalFile, Source};
use crate::split::Tag;

/// The files that an entry of the key `key` names, each once; what is left out goes into the listing.
///
/// # Errors
/// An entry that names nothing, and what the system answers.
pub(super) fn list(
    entry: &str,
    key: &'static str,
    listing: &mut Listing,
) -> Result<Vec<Found>, DataError> {
    let path = Path::new(entry);
    let mut walk = Walk::default();
    let base = if path.is_dir() {
        walk.folder(path, path)?;
        path.to_path_buf()
    } else if path.exists() {
        return Ok(vec![alone(path)?]);
    } else if entry.contains(['*', '?', '[']) {
        let base = fixed_prefix(path);
        let options = MatchOptions {
            // Hidden entries are left alone, as in a folder.
            require_literal_leading_dot: true,
            ..MatchOptions::default()
        };
        let mut hits = Vec::new();
        for hit in glob_with(entry, options).map_err(|e| DataError::Pattern {
            pattern: entry.into(),
            message: e.to_string(),
        })? {
            hits.push(hit.map_err(|e| {
                let path = e.path().to_path_buf();
                DataError::io("read", &path, e.into())
            })?);
        }
        for hit in shortest(hits) {
            if hit.is_dir() {
                walk.folder(&base, &hit)?;
            } else {
                walk.file(&base, hit)?;
            }
        }
        base
    } else {
        let path = entry.to_owned();
        return Err(DataError::NoTextPlace { key, path });
    };
    for (why, name) in walk.left_out {
        listing.leave_out(why, name);
    }
    if walk.files.is_empty() {
        return Err(DataError::NothingMatched {
            key,
            pattern: entry.into(),
            formats: FORMATS.into(),
        });
    }
    let mut found = Vec::new();
    for (name, path) in walk.files {
        found.push(Found {
            tag: tag_of(path.strip_prefix(&base).unwrap_or(&path)),
            identity: identity(&path)?,
            named: false,
            source: open(name, path)?,
        });
    }
    Ok(once(found, listing))
}

/// What a glob finds, each entry by the shortest of the ways that links to folders make to it. (Where links form a circle
/// there are forty: the system follows no more.)
fn shortest(mut hits: Vec<PathBuf>) -> Vec<PathBuf> {
    hits.sort_by_key(|path| (path.components().count(), path.clone()));
    let mut seen = HashSet::new();
    hits.retain(|path| {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize();
        folder.is_ok_and(|folder| seen.insert(folder.join(path.file_name().unwrap_or_default())))
    });
    hits
}

/// Every file once: by the name with the fewest folders, of those that links give it. In the order of the names.
fn once(mut found: Vec<Found>, listing: &mut Listing) -> Vec<Found> {
    let folders = |file: &Found| file.name().matches('/').count();
    found.sort_by(|a, b| (folders(a), a.name()).cmp(&(folders(b), b.name())));
    let mut kept: Vec<Found> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for file in found {
        if let Some(place) = places.get(&file.identity) {
            kept[*place].also(&file, listing);
        } else {
            places.insert(file.identity.clone(), kept.len());
            kept.push(file);
        }
    }
    kept.sort_by(|a, b| a.name().cmp(b.name()));
    kept
}

/// A file that is given by itself: its name says nothing about splits.
fn alone(path: &Path) -> Result<Found, DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if Format::of(&name).is_none() {
        return Err(DataError::UnknownFormat {
            path: path.to_path_buf(),
            formats: FORMATS.into(),
        });
    }
    if !path.is_file() {
        return Err(DataError::NoText {
            path: path.to_path_buf(),
            message: "is no regular file".into(),
        });
    }
    Ok(Found {
        identity: identity(path)?,
        tag: None,
        named: true,
        source: open(name.into_owned(), path.to_path_buf())?,
    })
}

fn open(name: String, path: PathBuf) -> Result<Arc<dyn Source>, DataError> {
    let fault = |e| DataError::io("read", &path, e);
    let file = LocalFile::new(name, path.clone()).map_err(fault)?;
    Ok(Arc::new(file))
}

fn identity(path: &Path) -> Result<String, DataError> {
    crate::source::identity(path).map_err(|e| DataError::io("read", path, e))
}

/// The files below a folder.
#[derive(Default)]
struct Walk {
    files: BTreeMap<String, PathBuf>,
    left_out: Vec<(LeftOut, String)>,
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
            } else {
                self.file(base, path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, base: &Path, path: PathBuf) -> Result<(), DataError> {
        let name = relative(base, &path);
        if Format::of(&name).is_none() {
            let ending = Path::new(&name).extension();
            let ending = ending.map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
            self.left_out.push((LeftOut::Format(ending), name));
            return Ok(());
        }
        // A link to nothing is text that is missing.
        let meta = fs::metadata(&path).map_err(|e| DataError::io("read", &path, e))?;
        if meta.is_file() {
            self.files.insert(name, path);
        } else {
            self.left_out.push((LeftOut::NoFile, name));
        }
        Ok(())
    }
}

/// The leading components of a pattern that hold no wildcard. (What a glob finds doesn't repeat a `.` at its start.)
fn fixed_prefix(pattern: &Path) -> PathBuf {
    pattern
        .components()
        .filter(|c| *c != Component::CurDir)
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

/// What the names below a folder say.
fn tag_of(below: &Path) -> Option<Tag> {
    let mut parts: Vec<_> = below
        .components()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    let file = parts.pop()?;
    Tag::in_path(parts.iter().map(String::as_str), Format::stem(&file))
}
