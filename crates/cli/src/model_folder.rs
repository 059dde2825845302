//! A folder of `transformers` that a command line names: one of this machine, or a repository of the hub.

use crate::failure::WrongInput;
use crate::tokenizing::{bar, storage};
use anyhow::Result;
use evenburn_data::{DataConfig, DataError, ListedFile, Source, fetch};
use evenburn_interchange::weight_files;
use evenburn_locations::{Location, LocationError, Storage, StoredFile};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a model is read.
pub(crate) struct ModelFolder {
    /// The folder on this machine.
    pub(crate) path: PathBuf,
    /// The place to be recorded: a repository at the commit that was read.
    pub(crate) place: PathBuf,
    /// What the model is called.
    pub(crate) name: String,
}

impl ModelFolder {
    /// Finds the folder; of a repository, what a model is read from is fetched.
    pub(crate) fn find(given: &Path, data: &DataConfig) -> Result<Self> {
        match given.to_str() {
            Some(text) if text.contains("://") => Self::fetch(text, data),
            _ => Ok(Self {
                path: given.to_owned(),
                place: given.to_owned(),
                name: given
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            }),
        }
    }

    fn fetch(text: &str, data: &DataConfig) -> Result<Self> {
        let location: Location = text.parse().map_err(DataError::Location)?;
        if !location.is_whole_repository() {
            let why = "name a folder of this machine, or a repository: hf://OWNER/NAME[@REVISION]";
            return Err(WrongInput(format!("{location}: {why}")).into());
        }
        let storage = storage(data)?;
        let listing = storage.list(&location).map_err(DataError::Location)?;
        let missing = |name: &str| {
            let place = location.to_string();
            let message = format!("the repository has no file {name}");
            DataError::Location(LocationError::NotFound { place, message })
        };
        let path = listing.snapshot.ok_or_else(|| missing("at all"))?;
        let named = |name: &str| listing.files.iter().find(|file| file.path() == name);
        let about = listing.files.iter().filter(|file| is_about(file.path()));
        bring(about, &storage)?;
        let mut weights = Vec::new();
        for file in weight_files(&path, |name| named(name).is_some())? {
            let name = file.strip_prefix(&path).unwrap_or(&file).to_string_lossy();
            weights.push(named(&name).ok_or_else(|| missing(&name))?);
        }
        bring(weights.into_iter(), &storage)?;
        let place = storage.pinned(text).unwrap_or_else(|| location.to_string());
        let (repository, _) = place.split_once('@').unwrap_or((&place, ""));
        let name = repository.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self {
            path,
            place: place.into(),
            name,
        })
    }
}

/// Whether a file at the root of a repository may say something about the model or its texts.
fn is_about(path: &str) -> bool {
    let ending = Path::new(path).extension();
    !path.contains('/') && ending.is_some_and(|it| it == "json" || it == "jinja")
}

/// Fetches files with a bar.
fn bring<'a>(
    files: impl Iterator<Item = &'a Arc<dyn StoredFile>>,
    storage: &Storage,
) -> Result<()> {
    let source =
        |file: &Arc<dyn StoredFile>| Arc::new(ListedFile::new(Arc::clone(file))) as Arc<dyn Source>;
    let sources: Vec<_> = files.map(source).collect();
    // Those that are here already need their names in the snapshot.
    for source in sources.iter().filter(|it| it.is_here()) {
        source.fetch().map_err(|e| wrapped(&**source, &e))?;
    }
    Ok(fetch(&sources, storage, &bar(Arc::default()))?)
}

fn wrapped(source: &dyn Source, error: &std::io::Error) -> DataError {
    let place = source.location().display().to_string();
    let message = error.to_string();
    let error = LocationError::within(error).cloned();
    DataError::Location(error.unwrap_or(LocationError::Unavailable { place, message }))
}
