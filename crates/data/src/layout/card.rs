//! The configurations that the card of a data set repository names: which files belong to each, and which split.
//!
//! A card is the `README.md`; what programs read of it is YAML between two lines `---` at its start
//! (<https://huggingface.co/docs/datasets/repository_structure>):
//!
//! ```yaml
//! configs:
//! - config_name: en
//!   default: true
//!   data_files:
//!   - split: train
//!     path: en/train-*
//! ```

use evenburn_locations::{Location, LocationError, Storage};
use serde::Deserialize;

use super::is_location;
use crate::split::Tag;
use crate::{DataConfig, DataError};

/// The key that chooses a configuration.
const KEY: &str = "data.config";

/// Names of configurations that an error lists at most.
const SHOWN: usize = 30;

/// Some files of a location.
#[derive(Debug, PartialEq)]
pub(super) struct Part {
    pub(super) files: Location,
    pub(super) roles: Roles,
}

/// What says the split of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Roles {
    /// The names of its folders and its own.
    Names,
    /// The card.
    Card(Option<Tag>),
}

/// Sees to it that `data.config` has something to choose from.
pub(super) fn check_key(config: &DataConfig) -> Result<(), DataError> {
    let is_dataset = |entry: &String| {
        let location = entry.parse::<Location>();
        is_location(entry) && location.is_ok_and(|it| it.is_whole_dataset())
    };
    if config.config.is_none() || config.entries().any(is_dataset) {
        return Ok(());
    }
    let why = "chooses among the configurations of a data set repository, and data.path names none without naming files of it; leave the key or the files out";
    Err(DataError::config(KEY, why))
}

/// The files that a location means: of a data set repository without a path, those of one configuration.
///
/// # Errors
/// A card that can't be read, and one with several configurations of which none is chosen: the error lists them.
pub(super) fn parts(
    location: &Location,
    key: &'static str,
    chosen: Option<&str>,
    storage: &Storage,
) -> Result<Vec<Part>, DataError> {
    let all = || Part {
        files: location.clone(),
        roles: Roles::Names,
    };
    if !location.is_whole_dataset() {
        return Ok(vec![all()]);
    }
    let text = storage.card(location);
    let text = text.map_err(|source| DataError::Place { key, source })?;
    let configs = read(text.as_deref().unwrap_or_default());
    let configs = configs.map_err(|why| unreadable(location, key, &why))?;
    let Some(config) = choose(&configs, chosen, &location.to_string(), KEY)? else {
        return Ok(vec![all()]);
    };
    let parts = config.files().into_iter().map(|(path, roles)| {
        let files = location.in_repository(path.trim_start_matches("./").trim_start_matches('/'));
        let files = files.filter(|_| !is_location(&path));
        let files = files.ok_or_else(|| {
            let name = &config.config_name;
            let why = format!("{location}: the files of `{name}` lie elsewhere: {path}; name that place in data.path");
            DataError::config(KEY, why)
        })?;
        Ok(Part { files, roles })
    });
    parts.collect()
}

/// What is wrong with a card, of a place that `key` names.
pub(super) fn unreadable(location: &Location, key: &'static str, why: &str) -> DataError {
    let place = location.to_string();
    let message = format!(
        "the first lines of its card (README.md) can't be read: {why}; name its files, as in {place}/**/*.parquet"
    );
    let source = LocationError::Corrupt { place, message };
    DataError::Place { key, source }
}

/// The one that is chosen by `key`, the only one, or the default; none where there are none.
pub(super) fn choose<'a>(
    configs: &'a [Configuration],
    chosen: Option<&str>,
    place: &str,
    key: &'static str,
) -> Result<Option<&'a Configuration>, DataError> {
    let named = |name: &str| configs.iter().find(|it| it.config_name == name);
    let names = || {
        let names = configs.iter().take(SHOWN).map(|it| it.config_name.as_str());
        let more = if configs.len() > SHOWN { ", ..." } else { "" };
        names.collect::<Vec<_>>().join(", ") + more
    };
    if let Some(name) = chosen {
        let found = named(name).ok_or_else(|| {
            let why = match configs {
                [] => format!("is {name}, and the card of {place} names no configurations"),
                _ => format!("is {name}, which {place} doesn't have; it has {}", names()),
            };
            DataError::config(key, why)
        });
        return found.map(Some);
    }
    let default = configs.iter().find(|it| it.default);
    match configs {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        _ => default
            .or_else(|| named("default"))
            .map(Some)
            .ok_or_else(|| {
                let why = format!(
                    "{place} has several configurations; choose one of {}",
                    names()
                );
                DataError::config(key, why)
            }),
    }
}

#[derive(Debug, Default, Deserialize)]
struct Card {
    #[serde(default)]
    configs: Vec<Configuration>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Configuration {
    config_name: String,
    #[serde(default)]
    data_files: Option<OneOrMany<DataFiles>>,
    /// The folder that the files lie in.
    #[serde(default)]
    data_dir: Option<String>,
    #[serde(default)]
    default: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

impl<T> OneOrMany<T> {
    fn all(&self) -> &[T] {
        match self {
            Self::Many(all) => all,
            Self::One(one) => std::slice::from_ref(one),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum DataFiles {
    Split {
        split: String,
        path: OneOrMany<String>,
    },
    Path(String),
}

impl Configuration {
    /// Its files as globs, with what says their splits.
    fn files(&self) -> Vec<(String, Roles)> {
        let roles = |split: Option<&str>| match split {
            Some(split) => Roles::Card(Tag::in_name(split)),
            None => Roles::Names,
        };
        let files = self.by_split().into_iter();
        files.map(|(path, split)| (path, roles(split))).collect()
    }

    /// Its files as globs, with the names of their splits; none where the names of files say these.
    pub(super) fn by_split(&self) -> Vec<(String, Option<&str>)> {
        let folder = self.data_dir.as_deref().map(|it| it.trim_end_matches('/'));
        let Some(files) = &self.data_files else {
            return vec![(folder.unwrap_or_default().to_owned(), None)];
        };
        let placed = |path: &String| match folder {
            Some(folder) if !folder.is_empty() => format!("{folder}/{path}"),
            _ => path.clone(),
        };
        let mut all = Vec::new();
        for files in files.all() {
            match files {
                // As `datasets` takes them.
                DataFiles::Path(path) => all.push((placed(path), Some(Tag::Train.name()))),
                DataFiles::Split { split, path } => {
                    let paths = path.all().iter();
                    all.extend(paths.map(|path| (placed(path), Some(split.as_str()))));
                }
            }
        }
        all
    }
}

/// The configurations in the first lines of a card. The error is a sentence.
pub(super) fn read(card: &str) -> Result<Vec<Configuration>, String> {
    let lines = card.trim_start_matches('\u{feff}').lines();
    let mut lines = lines.skip_while(|line| line.trim().is_empty());
    if lines.next().map(str::trim_end) != Some("---") {
        return Ok(Vec::new());
    }
    let yaml: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
    // Cards say much more, and not always in good order.
    if !yaml.iter().any(|line| line.starts_with("configs:")) {
        return Ok(Vec::new());
    }
    let card: Card = serde_saphyr::from_str(&yaml.join("\n")).map_err(|e| {
        let said = e.to_string();
        said.lines().next().unwrap_or_default().to_owned()
    })?;
    Ok(card.configs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn files(card: &str, chosen: Option<&str>) -> Result<Vec<(String, Roles)>, String> {
        let configs = read(card)?;
        let config = choose(&configs, chosen, "hf://datasets/a/b", KEY);
        let config = config.map_err(|e| e.to_string())?;
        Ok(config.map_or_else(Vec::new, Configuration::files))
    }

    const TWO: &str = "---\nlicense: mit\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/train-*\n  \
                       - split: validation\n    path:\n    - en/val-*\n    - en/dev.jsonl\n- config_name: 2020\n  data_files: old/*.txt\n\
                       dataset_info:\n- config_name: en\n---\n# Title\n---\nconfigs: 7\n";

    #[test]
    fn the_files_of_a_configuration() {
        let card = |tag| Roles::Card(Some(tag));
        assert_eq!(
            files(TWO, Some("en")).unwrap(),
            [
                ("en/train-*".to_owned(), card(Tag::Train)),
                ("en/val-*".to_owned(), card(Tag::Validation)),
                ("en/dev.jsonl".to_owned(), card(Tag::Validation)),
            ]
        );
        let old = [("old/*.txt".to_owned(), card(Tag::Train))];
        assert_eq!(files(TWO, Some("2020")).unwrap(), old);
        let error = files(TWO, None).unwrap_err();
        assert!(
            error.starts_with("data.config: ") && error.ends_with("en, 2020"),
            "{error}"
        );
        let error = files(TWO, Some("de")).unwrap_err();
        assert!(
            error.contains("is de, which") && error.ends_with("en, 2020"),
            "{error}"
        );
    }

    #[test]
    fn a_configuration_that_nobody_chose() {
        let paths = |configs: &str| {
            let found = files(&format!("---\nconfigs:\n{configs}---\n"), None);
            found.map(|it| it.into_iter().map(|(path, _)| path).collect::<Vec<_>>())
        };
        let a = "- config_name: a\n  data_files: a\n";
        let b = "- config_name: b\n  data_files: [b, c]\n";
        assert_eq!(paths(a).unwrap(), ["a"]);
        assert_eq!(
            paths(&format!("{a}{b}  default: true\n")).unwrap(),
            ["b", "c"]
        );
        let named = "- config_name: default\n  data_dir: d/\n";
        assert_eq!(paths(&format!("{a}{named}")).unwrap(), ["d"]);
        let both = "- config_name: x\n  data_dir: d\n  data_files: [{split: test, path: t}]\n";
        assert_eq!(paths(both).unwrap(), ["d/t"]);
        assert!(paths(&format!("{a}{b}")).is_err());
    }

    #[test]
    fn cards_without_configurations() {
        for card in [
            "",
            "# Title\n",
            "---\nlicense: mit\n---\n",
            "---\n: : [\n---\n",
            "---\n",
        ] {
            assert!(files(card, None).unwrap().is_empty(), "{card}");
        }
        assert!(files("---\nlicense: mit\n---\n", Some("x")).is_err());
        for card in ["---\nconfigs:\n- [\n---\n", "---\nconfigs: 7\n---\n"] {
            assert!(read(card).is_err(), "{card}");
        }
    }

    /// What was made to fill memory is refused.
    #[test]
    fn cards_that_multiply() {
        let mut card = "---\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let before = format!("*a{}, ", n - 1).repeat(9);
            card += &format!("a{n}: &a{n} [{before}*a{}]\n", n - 1);
        }
        card += "configs: *a11\n---\n";
        assert!(read(&card).is_err());
    }
}
