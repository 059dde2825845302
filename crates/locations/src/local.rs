//! Files of this machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use glob::{MatchOptions, glob_with};

use crate::LocationError;
use crate::file::{ContentId, Listing, Place, ReadSeek, StoredFile};
use crate::pattern::{WILDCARDS, is_glob};

/// A file, a folder or a glob. Hidden entries of folders are left alone.
#[derive(Debug)]
pub(crate) struct LocalPlace(String);

impl LocalPlace {
    pub(crate) fn new(path: &str) -> Result<Self, LocationError> {
        if path.is_empty() {
            return Err(LocationError::not_found(path, "an empty path"));
        }
        Ok(Self(path.to_owned()))
    }
}

/// Files by their names.
type Found = BTreeMap<String, PathBuf>;

impl Place for LocalPlace {
    fn list(&self) -> Result<Listing, LocationError> {
        let path = Path::new(&self.0);
        let mut found = Found::new();
        if path.is_dir() {
            walk(path, path, 0, &mut found)?;
        } else if path.exists() || !is_glob(&self.0, &WILDCARDS) {
            found.insert(
                name(path.parent().unwrap_or(path), path),
                path.to_path_buf(),
            );
        } else {
            let fixed = |part: &std::path::Component<'_>| {
                !is_glob(&part.as_os_str().to_string_lossy(), &WILDCARDS)
            };
            let base: PathBuf = path.components().take_while(fixed).collect();
            let options = MatchOptions {
                require_literal_leading_dot: true,
                ..MatchOptions::default()
            };
            let hits = glob_with(&self.0, options)
                .map_err(|e| LocationError::not_found(&self.0, format!("a malformed glob: {e}")))?;
            for hit in hits {
                let hit = hit.map_err(|e| LocationError::disk("list", e.path(), e.error()))?;
                if hit.is_dir() {
                    walk(&base, &hit, 0, &mut found)?;
                } else {
                    found.insert(name(&base, &hit), hit);
                }
            }
        }
        let files = found
            .into_iter()
            .map(|(name, path)| LocalFile::new(name, path).map(|file| Arc::new(file) as _));
        Ok(Listing {
            commit: None,
            files: files.collect::<Result<_, _>>()?,
        })
    }
}

/// Folders deeper than this are a circle of links.
const DEEP: usize = 64;

fn walk(base: &Path, folder: &Path, depth: usize, found: &mut Found) -> Result<(), LocationError> {
    let fault = |e: std::io::Error| LocationError::disk("list", folder, &e);
    for entry in fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if !path.is_dir() {
            found.insert(name(base, &path), path);
        } else if depth < DEEP {
            walk(base, &path, depth + 1, found)?;
        } else {
            return Err(LocationError::unavailable(
                &path.display().to_string(),
                "folders lie too deep; do links form a circle?",
            ));
        }
    }
    Ok(())
}

fn name(base: &Path, path: &Path) -> String {
    let below = path.strip_prefix(base).unwrap_or(path);
    let parts = below
        .components()
        .map(|part| part.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// A file of this machine.
#[derive(Debug)]
struct LocalFile {
    name: String,
    path: PathBuf,
    size: u64,
    id: ContentId,
}

impl LocalFile {
    fn new(name: String, path: PathBuf) -> Result<Self, LocationError> {
        let meta = fs::metadata(&path).map_err(|e| LocationError::disk("read", &path, &e))?;
        let modified = meta.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let id = since.map_or(ContentId::Unknown, |since| {
            ContentId::Modified(since.as_nanos().to_string())
        });
        Ok(Self {
            name,
            path,
            size: meta.len(),
            id,
        })
    }
}

impl StoredFile for LocalFile {
    fn path(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn id(&self) -> &ContentId {
        &self.id
    }

    fn open(&self) -> Result<Box<dyn ReadSeek>, LocationError> {
        let file = File::open(&self.path);
        Ok(Box::new(file.map_err(|e| {
            LocationError::disk("open", &self.path, &e)
        })?))
    }

    fn fetch(&self) -> Result<PathBuf, LocationError> {
        Ok(self.path.clone())
    }
}
