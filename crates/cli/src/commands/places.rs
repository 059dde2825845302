//! `evenburn data documents`, `ls` and `cache`: what lies at locations, before anything is prepared.

use crate::args::{DataCache, FileSplit};
use crate::output::{Lines, say, tell};
use crate::tokenizing::cache_folder;
use anyhow::Result;
use evenburn_data::{DataConfig, DataError, ListedFile, Source, documents};
use evenburn_files::sha256;
use evenburn_locations::{Listing, Location, LocationError, Settings, Storage};
use indicatif::HumanCount;
use std::path::Path;
use std::sync::Arc;

/// A number with commas.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Why a location can't be read, with its class for programs that read what is said.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Unreadable {
    pub(crate) class: &'static str,
    message: String,
}

impl From<LocationError> for Unreadable {
    fn from(error: LocationError) -> Self {
        Self::new(error.class(), &error.to_string())
    }
}

impl Unreadable {
    /// The message becomes one line.
    pub(super) fn new(class: &'static str, message: &str) -> Self {
        let message = message
            .split(char::is_control)
            .collect::<Vec<_>>()
            .join(" ");
        Self { class, message }
    }

    /// What the decoder of a file says, unless its place is the reason.
    pub(super) fn decoding(file: &ListedFile, error: &DataError) -> Self {
        if let Some(error) = file.failure() {
            return error.into();
        }
        let class = match error {
            DataError::Missing { .. }
            | DataError::UnknownFormat { .. }
            | DataError::NoText { .. }
            | DataError::Pointer { .. } => "not_found",
            DataError::Io { .. } => "unavailable",
            _ => "corrupt",
        };
        Self::new(class, &error.to_string())
    }
}

/// Files that aren't from the hub are kept where `data.cache` says, or in the program's own folder.
fn storage(cache: Option<&Path>) -> Result<Storage, Unreadable> {
    let folder = cache.map_or_else(cache_folder, Path::to_path_buf);
    Ok(Storage::new(Settings::of_process(&folder))?)
}

/// A location and what it holds. What is printed of it is the former, as arguments may hold signatures.
pub(super) fn list(
    storage: &Storage,
    text: &str,
    revision: Option<&str>,
) -> Result<(Location, Listing), Unreadable> {
    let mut location: Location = text.parse()?;
    if let Some(revision) = revision {
        location = location.or_revision(revision)?;
    }
    let listing = storage.list(&location)?;
    if let Some(note) = &listing.note {
        tell!("{location}: {note}");
    }
    Ok((location, listing))
}

/// Prints every document, in the order of the locations and within one of the files' paths.
pub(super) fn print_documents(
    locations: &[String],
    revision: Option<&str>,
    split: Option<FileSplit>,
    digests: bool,
    config: &DataConfig,
) -> Result<()> {
    let storage = storage(config.cache.as_deref())?;
    let mut out = Lines::default();
    for text in locations {
        let (location, Listing { files, .. }) = list(&storage, text, revision)?;
        let alone = files.len() == 1;
        let files: Vec<_> = files
            .into_iter()
            .map(|file| Arc::new(ListedFile::new(file)))
            .collect();
        let meant = |file: &&Arc<ListedFile>| {
            let is_of = split.is_none_or(|split| file.split() == Some(split.name()));
            is_of && (file.is_text() || alone)
        };
        let files: Vec<_> = files.iter().filter(meant).collect();
        let mut read = false;
        for file in files {
            let fault = |error: DataError| Unreadable::decoding(file, &error);
            let documents = match documents(Arc::clone(file) as Arc<dyn Source>, &config.text_field)
            {
                // A folder may hold empty files, and JSON that is about the data.
                Err(DataError::NoText { path, message }) if !alone => {
                    tell!("left out: {}: {message}", path.display());
                    continue;
                }
                other => other.map_err(fault)?,
            };
            read = true;
            for document in documents {
                let text = document.map_err(fault)?.text;
                out.line(&if digests {
                    sha256(text.as_bytes())
                } else {
                    serde_json::Value::String(text).to_string()
                })?;
            }
        }
        if !read {
            let of = split.map_or_else(String::new, |split| {
                format!(" of the split {}", split.name())
            });
            let why = format!("{location}: no file with documents{of} is there");
            return Err(Unreadable::new("not_found", &why).into());
        }
    }
    out.finish()?;
    Ok(())
}

/// Prints size, path and id of every file.
pub(super) fn print_files(locations: &[String], revision: Option<&str>) -> Result<()> {
    let storage = storage(None)?;
    let mut out = Lines::default();
    for text in locations {
        let (location, listing) = list(&storage, text, revision)?;
        for file in &listing.files {
            out.line(&format!(
                "{:>15} {} {}",
                count(file.size()),
                file.path(),
                file.id()
            ))?;
        }
        let bytes = listing.files.iter().map(|file| file.size()).sum::<u64>();
        let commit = listing
            .commit
            .map_or_else(String::new, |commit| format!(" at commit {commit}"));
        let files = count(listing.files.len() as u64);
        out.finish()?;
        tell!("{location}{commit}: {files} files, {} bytes", count(bytes));
    }
    Ok(())
}

/// Shows or empties what was fetched.
pub(super) fn cache(command: &DataCache, config: &DataConfig) -> Result<()> {
    let storage = storage(config.cache.as_deref())?;
    match command {
        DataCache::Ls => {
            for item in storage.cached().map_err(Unreadable::from)? {
                say!("{:>15} {}", count(item.bytes), item.path.display())?;
            }
        }
        DataCache::Clear => {
            let bytes = storage.clear().map_err(Unreadable::from)?;
            say!("{} bytes removed", count(bytes))?;
            tell!(
                "files of the hub are shared with other programs and stay; `hf cache` removes them"
            );
        }
    }
    Ok(())
}
