//! Files of this machine.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

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
        let mut alone = false;
        if path.is_dir() {
            walk(path, path, 0, &mut found)?;
        } else if path.exists() || !is_glob(&self.0, &WILDCARDS) {
            alone = true;
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
            files: files.collect::<Result<_, _>>()?,
            alone,
            ..Listing::default()
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
    listed: Listed,
    id: ContentId,
}

/// What a file was when it was listed.
#[derive(Debug, Clone)]
struct Listed {
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

impl Listed {
    /// # Errors
    /// [`LocationError::Changed`] where it is something else now.
    fn check(&self, now: &Metadata) -> Result<(), LocationError> {
        if (now.len(), now.modified().ok()) == (self.size, self.modified) {
            return Ok(());
        }
        let why = "the file has changed since it was listed; run again once nothing writes to it";
        Err(LocationError::changed(
            &self.path.display().to_string(),
            why,
        ))
    }
}

/// Reads a file, and looks at its end whether it is still the one that was listed.
struct Reader {
    file: File,
    at: u64,
    listed: Listed,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.at += read as u64;
        if self.at >= self.listed.size || read == 0 {
            self.listed.check(&self.file.metadata()?)?;
        }
        Ok(read)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.file.seek(to)?;
        Ok(self.at)
    }
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
            listed: Listed {
                path,
                size: meta.len(),
                modified,
            },
            id,
        })
    }
}

impl StoredFile for LocalFile {
    fn path(&self) -> &str {
        &self.name
    }

    fn location(&self) -> String {
        self.listed.path.display().to_string()
    }

    fn size(&self) -> u64 {
        self.listed.size
    }

    fn id(&self) -> &ContentId {
        &self.id
    }

    fn open(&self) -> Result<Box<dyn ReadSeek>, LocationError> {
        let path = &self.listed.path;
        let fault = |e: io::Error| LocationError::disk("open", path, &e);
        let file = File::open(path).map_err(fault)?;
        self.listed.check(&file.metadata().map_err(fault)?)?;
        Ok(Box::new(Reader {
            file,
            at: 0,
            listed: self.listed.clone(),
        }))
    }

    fn identity(&self) -> String {
        format!("{} {}", self.location(), self.id)
    }

    fn fetch(&self) -> Result<PathBuf, LocationError> {
        Ok(self.listed.path.clone())
    }

    fn is_here(&self) -> bool {
        true
    }

    fn is_ranged(&self) -> bool {
        false
    }

    fn release(&self) -> Result<bool, LocationError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let listed = || {
            let place = LocalPlace::new(path.to_str().unwrap()).unwrap();
            Arc::clone(&place.list().unwrap().files[0])
        };
        let append = || {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            io::Write::write_all(&mut file, b"more").unwrap();
        };
        let mut text = String::new();
        fs::write(&path, "text").unwrap();
        let file = listed();
        file.open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        append();
        assert_eq!(file.open().err().unwrap().class(), "changed");
        let mut reader = listed().open().unwrap();
        append();
        let error = reader.read_to_string(&mut text).unwrap_err();
        assert_eq!(LocationError::within(&error).unwrap().class(), "changed");
    }
}
