//! What a configuration names elsewhere: the storage that reaches it, a tokenizer among it, and the commits of repositories.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use evenburn_locations::{Environment, Location, LocationError, Settings, Storage};

use crate::layout::is_location;
use crate::{DataConfig, DataError, PathList, Tokenizer};

/// Bytes of the largest `tokenizer.json` that is read. Those of a million entries have some 100 MB.
const LARGEST_TOKENIZER: u64 = 1 << 30;

/// The storage of a configuration: what isn't from the hub is kept below `data.cache`, or below `cache` if that is unset.
///
/// # Errors
/// What the environment says of servers can't be used, where the configuration names any.
///
/// ```
/// use evenburn_data::{DataConfig, find_sources, open_storage};
/// let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("a.txt"), "a text")?;
/// let path = dir.path().display().to_string();
/// let config = DataConfig { path: path.as_str().into(), ..Default::default() };
/// let storage = open_storage(&config, dir.path())?;
/// assert_eq!(find_sources(&config, &storage)?.sources[0].source.name(), "a.txt");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open_storage(config: &DataConfig, cache: &Path) -> Result<Storage, DataError> {
    Storage::new(storage_settings(config, cache)).map_err(DataError::Location)
}

/// How the storage of a configuration is made: all files whole.
pub(crate) fn storage_settings(config: &DataConfig, cache: &Path) -> Settings {
    let cache = config.cache.as_deref().unwrap_or(cache);
    let mut settings = Settings::of_process(cache);
    if !config.places().any(|place| is_location(place)) {
        // What it says of servers is no matter of files of this machine.
        settings.environment = Environment::default();
    }
    settings
}

impl DataConfig {
    /// Whether some of its text lies elsewhere than on this machine.
    pub fn is_elsewhere(&self) -> bool {
        self.entries().any(|entry| is_location(entry))
    }

    /// What names its text.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &String> {
        let own = [Some(&self.path), self.validation_path.as_ref()];
        let sources = self.sources.iter();
        let of_sources = sources.flat_map(|s| [Some(&s.path), s.validation_path.as_ref()]);
        let lists = own.into_iter().chain(of_sources).flatten();
        lists.flat_map(|list| &list.0)
    }

    /// The same, and its tokenizer.
    fn places(&self) -> impl Iterator<Item = &String> {
        self.entries().chain([&self.tokenizer])
    }
}

/// Repositories as a configuration writes them, and the same at the commits that they were read at: a run records these, so
/// that it goes on with the same files when their branch has moved on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<String, String>);

impl Pins {
    /// Those of a configuration's places that a storage has listed.
    pub fn of(config: &DataConfig, storage: &Storage) -> Self {
        let written = config.places();
        let pinned = written.filter_map(|text| Some((text.clone(), storage.pinned(text)?)));
        Self(pinned.collect())
    }

    /// Puts the commits into a configuration.
    pub fn apply(&self, config: &mut DataConfig) {
        let pin = |text: &mut String| {
            if let Some(pinned) = self.0.get(text) {
                text.clone_from(pinned);
            }
        };
        let all = |list: &mut PathList| list.0.iter_mut().for_each(pin);
        all(&mut config.path);
        config.validation_path.iter_mut().for_each(all);
        for source in &mut config.sources {
            all(&mut source.path);
            source.validation_path.iter_mut().for_each(all);
        }
        pin(&mut config.tokenizer);
    }
}

/// The tokenizer that `data.tokenizer` names.
pub(crate) fn named_tokenizer(
    config: &DataConfig,
    storage: &Storage,
) -> Result<Tokenizer, DataError> {
    let (key, place) = ("data.tokenizer", &config.tokenizer);
    let tokenizer = Tokenizer::from_location(place, &config.eod_token, storage);
    tokenizer.map_err(|e| match e {
        DataError::Missing { .. } => {
            let why = format!("no such file: {place}; if it lies elsewhere now, give that place");
            DataError::config(key, why)
        }
        DataError::Location(source) => DataError::Place { key, source },
        other => other,
    })
}

impl<'p> FromIterator<&'p Self> for Pins {
    /// Those of all.
    fn from_iter<T: IntoIterator<Item = &'p Self>>(pins: T) -> Self {
        let all = pins.into_iter().flat_map(|pins| pins.0.clone());
        Self(all.collect())
    }
}

impl Tokenizer {
    /// Loads the `tokenizer.json` that a text names: by a path of this machine, or by a location, which may be a repository
    /// that has one.
    ///
    /// # Errors
    /// What the place answers, and as [`Tokenizer::from_file`].
    pub fn from_location(
        text: &str,
        eod_token: &str,
        storage: &Storage,
    ) -> Result<Self, DataError> {
        if !is_location(text) {
            return Self::from_file(Path::new(text), eod_token);
        }
        let location: Location = text.parse().map_err(DataError::Location)?;
        let file = if location.is_whole_repository() {
            location.in_repository("tokenizer.json").unwrap_or(location)
        } else {
            location
        };
        let listing = storage.list(&file).map_err(DataError::Location)?;
        let [file] = listing.files.as_slice() else {
            let message = format!(
                "that are {} files; name one tokenizer.json",
                listing.files.len()
            );
            let place = file.to_string();
            return Err(DataError::Location(LocationError::NotFound {
                place,
                message,
            }));
        };
        let origin = PathBuf::from(file.location());
        if file.size() > LARGEST_TOKENIZER {
            return Err(DataError::Tokenizer {
                path: origin,
                message: format!("it has {} bytes, which no tokenizer has", file.size()),
            });
        }
        let mut json = String::new();
        let reader = file.open().map_err(DataError::Location)?;
        let read = reader.take(LARGEST_TOKENIZER).read_to_string(&mut json);
        read.map_err(|e| DataError::io("read", &origin, e))?;
        Self::from_json(json, &origin, eod_token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_put_where_they_were_read() {
        let (written, pinned) = (
            "hf://datasets/a/b/*.jsonl",
            "hf://datasets/a/b@1234/*.jsonl",
        );
        let pins = Pins([(written.to_owned(), pinned.to_owned())].into());
        let mut config = DataConfig {
            path: PathList(vec!["text/".to_owned(), written.to_owned()]),
            validation_path: Some(written.into()),
            ..DataConfig::default()
        };
        pins.apply(&mut config);
        assert_eq!(config.path.0, ["text/", pinned]);
        assert_eq!(config.validation_path, Some(pinned.into()));
        assert_eq!(config.tokenizer, "train");
    }
}
