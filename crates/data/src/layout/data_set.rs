//! The files of a data set by configuration and split, whatever these are called: what a benchmark asks for.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use evenburn_locations::{Listing, Location, LocationError, Storage, StoredFile};
use glob::{MatchOptions, Pattern};

use super::card::{self, Configuration};
use crate::decode::Format;
use crate::source::Source;
use crate::split::Tag;
use crate::{DataError, ListedFile};

/// What an error about the place of a data set calls it.
const PLACE: &str = "dataset.path";
/// What an error about a configuration calls it.
const CONFIG: &str = "dataset.config";
/// Bytes of a card that are read.
const CARD: u64 = 4 << 20;
/// Where the hub keeps what it made of data sets that are programs.
const CONVERTED: &str = "refs/convert/parquet";
/// Names that an error lists at most.
const SHOWN: usize = 30;

/// The files of a data set, listed once: a repository of the hub at one commit, a folder laid out like one, or a file.
///
/// ```
/// use evenburn_data::DataSetFiles;
/// use evenburn_locations::{Settings, Storage};
/// let folder = tempfile::tempdir()?;
/// std::fs::create_dir(folder.path().join("easy"))?;
/// for split in ["train", "test"] {
///     std::fs::write(folder.path().join(format!("easy/{split}-00000-of-00001.jsonl")), "{}\n")?;
/// }
/// let storage = Storage::new(Settings::of_process(folder.path()))?;
/// let files = DataSetFiles::open(&folder.path().display().to_string(), &storage)?;
/// let test = files.split(Some("easy"), Some("test"))?;
/// assert_eq!(test[0].name(), "easy/test-00000-of-00001.jsonl");
/// let error = files.split(Some("easy"), Some("validation")).unwrap_err();
/// assert!(error.to_string().ends_with("there are test, train"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DataSetFiles {
    place: String,
    commit: Option<String>,
    files: Vec<Arc<dyn StoredFile>>,
    /// The folder that is named, from which on names count.
    folder: String,
    alone: bool,
    configs: Vec<Configuration>,
}

/// A file, the part of its path that says its split, and what the card says of that.
struct Candidate<'a> {
    file: &'a Arc<dyn StoredFile>,
    below: &'a str,
    said: Option<String>,
}

impl DataSetFiles {
    /// Lists a data set. A repository of the hub that has no file with documents is read as the hub converted it.
    ///
    /// # Errors
    /// A place that can't be listed, or whose card can't be read.
    pub fn open(place: &str, storage: &Storage) -> Result<Self, DataError> {
        let fault = |source| DataError::Place { key: PLACE, source };
        let mut location: Location = place.parse().map_err(fault)?;
        let mut listing = storage.list(&location).map_err(fault)?;
        if location.is_whole_dataset() && !listing.files.iter().any(|file| is_text(file.path())) {
            let converted = location.clone().or_revision(CONVERTED).map_err(fault)?;
            if converted != location
                && let Ok(found) = storage.list(&converted)
            {
                (location, listing) = (converted, found);
            }
        }
        let configs = if listing.alone {
            Vec::new()
        } else {
            let card = card_of(&listing).map_err(fault)?;
            card::read(&card).map_err(|why| card::unreadable(&location, PLACE, &why))?
        };
        let written = location.to_string();
        Ok(Self {
            place: storage.pinned(&written).unwrap_or(written),
            commit: listing.commit,
            files: listing.files,
            folder: listing.folder,
            alone: listing.alone,
            configs,
        })
    }

    /// Where it is: a repository at the commit that was listed.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The commit that was listed, of a repository.
    pub fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// The files of a split of a configuration, in the order of their paths. Configurations and splits are those of the card,
    /// or else of the names of folders and files. A data set that is one file has neither.
    ///
    /// # Errors
    /// There is no such configuration or split; the error lists those that there are.
    pub fn split(
        &self,
        config: Option<&str>,
        split: Option<&str>,
    ) -> Result<Vec<Arc<dyn Source>>, DataError> {
        let candidates = if self.alone {
            let all = self.files.iter();
            all.map(|file| self.candidate(file)).collect()
        } else {
            let candidates = self.of_config(config)?;
            match split {
                Some(split) => self.of_split(candidates, config, split)?,
                None => candidates,
            }
        };
        if candidates.is_empty() {
            return Err(self.missing("has no file with documents".to_owned()));
        }
        // One that is there in two formats is there once.
        let is_table = |it: &&Candidate<'_>| it.file.path().ends_with(".parquet");
        let tables = candidates.iter().filter(is_table).count();
        let chosen = candidates
            .iter()
            .filter(|it| tables == 0 || is_table(it))
            .map(|it| Arc::new(ListedFile::new(Arc::clone(it.file))) as Arc<dyn Source>);
        Ok(chosen.collect())
    }

    fn missing(&self, message: String) -> DataError {
        DataError::NoSplit {
            place: self.place.clone(),
            message,
        }
    }

    fn candidate<'a>(&self, file: &'a Arc<dyn StoredFile>) -> Candidate<'a> {
        let path = file.path();
        let below = path.strip_prefix(&self.folder).unwrap_or(path);
        Candidate {
            file,
            below: below.trim_start_matches('/'),
            said: None,
        }
    }

    /// The configuration of the card that is meant, if it has any.
    fn chosen(&self, config: Option<&str>) -> Result<Option<&Configuration>, DataError> {
        if self.configs.is_empty() {
            return Ok(None);
        }
        card::choose(&self.configs, config, &self.place, CONFIG)
    }

    /// The files of a configuration.
    fn of_config(&self, config: Option<&str>) -> Result<Vec<Candidate<'_>>, DataError> {
        if let Some(config) = self.chosen(config)? {
            return self.of_card(config);
        }
        let texts = self.files.iter().filter(|file| is_text(file.path()));
        let all = texts.map(|file| self.candidate(file));
        let Some(name) = config else {
            return Ok(all.collect());
        };
        let all: Vec<_> = all.collect();
        let inside = |it: &Candidate<'_>| below_folder(it.below, name).is_some();
        if all.iter().any(inside) {
            let found = all.into_iter().filter_map(|mut it| {
                it.below = below_folder(it.below, name)?;
                Some(it)
            });
            return Ok(found.collect());
        }
        // What a data set without configurations calls the one that it is.
        if name == "default" {
            return Ok(all);
        }
        let folders = all.iter().filter_map(|it| it.below.rsplit_once('/'));
        let folders = listed(folders.map(|(folder, _)| folder.to_owned()));
        let there = if folders.is_empty() {
            "it has no folders".to_owned()
        } else {
            format!("its folders are {folders}")
        };
        Err(self.missing(format!("has no configuration `{name}`; {there}")))
    }

    /// The files that the card gives a configuration.
    fn of_card(&self, config: &Configuration) -> Result<Vec<Candidate<'_>>, DataError> {
        let mut found: Vec<Candidate<'_>> = Vec::new();
        for (glob, split) in config.by_split() {
            let glob = glob.trim_start_matches("./").trim_start_matches('/');
            let pattern = Pattern::new(glob).map_err(|e| {
                self.missing(format!("its card has a malformed glob `{glob}`: {}", e.msg))
            })?;
            let options = MatchOptions {
                require_literal_separator: true,
                require_literal_leading_dot: true,
                ..MatchOptions::default()
            };
            for file in self.files.iter().filter(|file| is_text(file.path())) {
                let path = file.path();
                let below = path.strip_prefix(glob);
                let inside = below.filter(|it| glob.is_empty() || it.starts_with('/'));
                let meant = inside.is_some() || pattern.matches_with(path, options);
                let known =
                    |it: &Candidate<'_>| it.file.path() == path && it.said.as_deref() == split;
                if meant && !found.iter().any(known) {
                    found.push(Candidate {
                        below: inside.unwrap_or(path).trim_start_matches('/'),
                        said: split.map(str::to_owned),
                        ..self.candidate(file)
                    });
                }
            }
        }
        Ok(found)
    }

    /// Those of a split: the one of the very name, or else the one that is meant by it.
    fn of_split<'a>(
        &self,
        candidates: Vec<Candidate<'a>>,
        config: Option<&str>,
        split: &str,
    ) -> Result<Vec<Candidate<'a>>, DataError> {
        let tag = Tag::in_name(split);
        let named = |it: &Candidate<'_>| it.is_called(split);
        let meant = |it: &Candidate<'_>| tag.is_some() && it.tag() == tag;
        // Without any name of a split, all is for training.
        let nothing_said =
            tag == Some(Tag::Train) && candidates.iter().all(|it| it.split().is_none());
        let (by_name, by_meaning) = (candidates.iter().any(named), candidates.iter().any(meant));
        if by_name {
            return Ok(candidates.into_iter().filter(named).collect());
        }
        if by_meaning {
            return Ok(candidates.into_iter().filter(meant).collect());
        }
        if nothing_said && !candidates.is_empty() {
            return Ok(candidates);
        }
        let there = listed(candidates.iter().filter_map(Candidate::split));
        let there = if there.is_empty() {
            "the names of its files say none".to_owned()
        } else {
            format!("there are {there}")
        };
        let of = config.map_or_else(String::new, |name| format!(" of `{name}`"));
        Err(self.missing(format!("has no split `{split}`{of}; {there}")))
    }
}

impl Candidate<'_> {
    fn parts(&self) -> (std::str::Split<'_, char>, &str) {
        let (folders, name) = self.below.rsplit_once('/').unwrap_or(("", self.below));
        (folders.split('/'), Format::stem(name))
    }

    /// Whether the card, a folder or the beginning of its name says the very word.
    fn is_called(&self, split: &str) -> bool {
        if let Some(said) = &self.said {
            return said == split;
        }
        let (mut folders, stem) = self.parts();
        let rest = stem.strip_prefix(split);
        folders.any(|folder| folder == split)
            || rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    }

    fn tag(&self) -> Option<Tag> {
        if let Some(said) = &self.said {
            return Tag::in_name(said);
        }
        let (folders, stem) = self.parts();
        Tag::in_path(folders, stem)
    }

    /// What its split is called.
    fn split(&self) -> Option<String> {
        let tag = || self.tag().map(|tag| tag.name().to_owned());
        self.said.clone().or_else(tag)
    }
}

fn is_text(path: &str) -> bool {
    Format::of(path).is_some()
}

/// A path below a folder of this name, wherever that lies.
fn below_folder<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let mut rest = path;
    while let Some((first, below)) = rest.split_once('/') {
        if first == folder {
            return Some(below);
        }
        rest = below;
    }
    None
}

/// The text of the card, `README.md`; empty where there is none.
fn card_of(listing: &Listing) -> Result<String, LocationError> {
    let Some(file) = listing.files.iter().find(|it| it.path() == "README.md") else {
        return Ok(String::new());
    };
    let mut bytes = Vec::new();
    let read = file.open()?.take(CARD).read_to_end(&mut bytes);
    read.map_err(|e| {
        let unavailable = || LocationError::Unavailable {
            place: file.location(),
            message: e.to_string(),
        };
        LocationError::within(&e)
            .cloned()
            .unwrap_or_else(unavailable)
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Names in order, each once.
fn listed(names: impl Iterator<Item = String>) -> String {
    let names: BTreeSet<_> = names.collect();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    let shown: Vec<_> = names.into_iter().take(SHOWN).collect();
    shown.join(", ") + more
}
