//! Which files a configuration names, and which split each belongs to.
//!
//! Everything here is decided by names alone, before a byte is read: what only the bytes can tell (an empty file, a
//! pointer in place of a file) is found where they are opened.

mod card;
mod data_set;
mod local;
mod remote;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use evenburn_locations::Storage;
use serde::{Deserialize, Serialize};

use crate::decode::{Documents, counted_documents};
use crate::source::Source;
use crate::split::{Split, Tag};
use crate::{DataConfig, DataError, PathList};

pub use data_set::DataSetFiles;

/// How the documents of a source are assigned to a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceRole {
    /// Every document is for training.
    Train,
    /// Every document is for validation.
    Validation,
    /// A document's tag decides, or else the hash of its text.
    Mixed,
}

impl SourceRole {
    /// Whether documents of the source may belong to a split.
    pub(crate) fn has(self, split: Split) -> bool {
        match self {
            Self::Train => split == Split::Train,
            Self::Validation => split == Split::Validation,
            Self::Mixed => true,
        }
    }
}

/// The rule by which a source got its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The key that it was given by: `data.validation_path`.
    Key,
    /// The name of a folder or of the file (`data.split_names`).
    Name,
    /// No name says otherwise, and other files are validation text.
    Rest,
    /// There is no validation file, so that every document finds its split by itself.
    Documents,
}

/// A source and its role.
#[derive(Debug, Clone)]
pub struct PlacedSource {
    /// Where the bytes are.
    pub source: Arc<dyn Source>,
    /// Which split they are for.
    pub role: SourceRole,
    /// By which rule.
    pub rule: Rule,
    /// Whether the configuration names this very file: then it must be text, while a folder may hold other things.
    pub named: bool,
}

impl PlacedSource {
    /// Its documents, read as a configuration says; or why it is no text, where it wasn't given by itself: a folder may hold
    /// other things.
    ///
    /// # Errors
    /// As [`documents`](crate::documents).
    pub fn documents(&self, config: &DataConfig) -> Result<Result<Documents, String>, DataError> {
        self.counted_documents(config, &Arc::default())
    }

    /// The same; `bytes` grows by the stored bytes read.
    pub(crate) fn counted_documents(
        &self,
        config: &DataConfig,
        bytes: &Arc<AtomicU64>,
    ) -> Result<Result<Documents, String>, DataError> {
        // Decoders put an error of the place into words of their own.
        let source = Arc::clone(&self.source);
        let reason = move |error| source.failure().map_or(error, DataError::Location);
        let documents = counted_documents(Arc::clone(&self.source), &config.text_field, bytes);
        match documents.map_err(&reason) {
            Ok(documents) => Ok(Ok(documents
                .told_by(reason)
                .on_bad_record(config.on_bad_record))),
            Err(
                DataError::NoText { message, .. }
                | DataError::Pointer { message, .. }
                | DataError::FirstObject { message, .. },
            ) if !self.named => Ok(Err(message)),
            Err(other) => Err(other),
        }
    }

    /// Whether its contents are still those that were listed.
    pub(crate) fn is_unchanged(&self) -> Result<bool, DataError> {
        let unchanged = self.source.is_unchanged();
        unchanged.map_err(|e| DataError::io("read", self.source.location(), e))
    }
}

/// Why a file that a folder or a glob holds is not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// Its name says `test`.
    Test,
    /// Its name says that it is validation text, but `data.validation_path` names other text for that.
    OtherValidation,
    /// `data.validation_path` names it, so it is no training text.
    IsValidation,
    /// Its name says training or test, in a `data.validation_path` that has files for validation.
    NotValidation,
    /// It is another name of a file that is listed already.
    OtherName,
    /// It ends in something that is not read (the ending, with its dot, or nothing).
    Format(String),
    /// It is no regular file.
    NoFile,
    /// Its bytes are no text that can be read; the reason, in words.
    Unreadable(String),
}

/// What a configuration names.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// What is read, in the order in which it is tokenized.
    pub sources: Vec<PlacedSource>,
    /// Names of what is left out, by reason.
    pub left_out: BTreeMap<LeftOut, Vec<String>>,
    /// What whoever reads the listing should know of it, in sentences.
    pub notes: Vec<String>,
}

impl Listing {
    fn leave_out(&mut self, why: LeftOut, name: String) {
        self.left_out.entry(why).or_default().push(name);
    }
}

/// Lists the configured sources in the order in which they are tokenized, and what is left out.
///
/// Names sort bytewise within each entry of `data.path`, so that the order is the same everywhere. A file is one source
/// however often and by whatever spelling or link it is named. Entries with a scheme are listed by the storage, and no byte
/// of their files is fetched.
///
/// # Errors
/// A missing path, a pattern that matches nothing, a file of unknown format that is given by itself, a file that is
/// given as training and as validation text, a mixture of several texts, and what a place answers.
pub fn find_sources(config: &DataConfig, storage: &Storage) -> Result<Listing, DataError> {
    config.validate()?;
    if !config.sources.is_empty() {
        let why = "are several texts, and one is asked for; name it with data.path";
        return Err(DataError::config("data.sources", why));
    }
    card::check_key(config)?;
    let mut listing = Listing::default();
    let mut found = expand(&config.path, "data.path", config, storage, &mut listing)?;
    let explicit = match &config.validation_path {
        Some(list) => {
            let key = "data.validation_path";
            let all = expand(list, key, config, storage, &mut listing)?;
            only_validation(all, &mut listing)
        }
        None => Vec::new(),
    };
    if !explicit.is_empty() {
        found = without(found, &explicit, &mut listing)?;
    }
    let by_name = found.iter().any(|f| f.tag == VALIDATION);
    let rest = if by_name || !explicit.is_empty() {
        (SourceRole::Train, Rule::Rest)
    } else {
        (SourceRole::Mixed, Rule::Documents)
    };
    for file in found {
        let (role, rule) = match file.tag {
            Some(Tag::Test) => {
                listing.leave_out(LeftOut::Test, file.name().to_owned());
                continue;
            }
            Some(Tag::Validation) => (SourceRole::Validation, Rule::Name),
            Some(Tag::Train) if rest.0 == SourceRole::Train => (SourceRole::Train, Rule::Name),
            Some(Tag::Train) | None => rest,
        };
        listing.sources.push(file.place(role, rule));
    }
    for file in explicit {
        listing
            .sources
            .push(file.place(SourceRole::Validation, Rule::Key));
    }
    Ok(listing)
}

const VALIDATION: Option<Tag> = Some(Tag::Validation);

/// Of the files that `data.validation_path` finds, those that are called validation, if any are; else all.
fn only_validation(all: Vec<Found>, listing: &mut Listing) -> Vec<Found> {
    if all.iter().all(|f| f.tag != VALIDATION) {
        return all;
    }
    let (chosen, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|f| f.tag == VALIDATION || f.named || f.tag.is_none());
    for file in others {
        listing.leave_out(LeftOut::NotValidation, file.name().to_owned());
    }
    chosen
}

/// The training files where other files are given for validation.
fn without(
    found: Vec<Found>,
    validation: &[Found],
    listing: &mut Listing,
) -> Result<Vec<Found>, DataError> {
    let held: HashSet<&str> = validation.iter().map(|f| f.identity.as_str()).collect();
    let mut kept = Vec::new();
    for file in found {
        if held.contains(file.identity.as_str()) {
            if file.named {
                let place = file.source.location().display();
                let why = format!("{place} is given in data.path too");
                return Err(DataError::config("data.validation_path", why));
            }
            listing.leave_out(LeftOut::IsValidation, file.name().to_owned());
        } else if file.tag == VALIDATION {
            listing.leave_out(LeftOut::OtherValidation, file.name().to_owned());
        } else {
            kept.push(file);
        }
    }
    Ok(kept)
}

/// Whether a text names a place by its scheme. Everything else is a path of this machine.
pub(crate) fn is_location(text: &str) -> bool {
    text.contains("://")
}

/// A file that an entry of a path list names.
struct Found {
    source: Arc<dyn Source>,
    /// Equal for all names of one stored file.
    identity: String,
    tag: Option<Tag>,
    named: bool,
}

impl Found {
    fn name(&self) -> &str {
        self.source.name()
    }

    /// Takes another name of the same file into account: it is held out if any of its names says so.
    fn also(&mut self, other: &Self, listing: &mut Listing) {
        if !self.named {
            self.tag = self.tag.max(other.tag);
        }
        if other.name() != self.name() {
            listing.leave_out(LeftOut::OtherName, other.name().to_owned());
        }
    }

    fn place(self, role: SourceRole, rule: Rule) -> PlacedSource {
        PlacedSource {
            source: self.source,
            role,
            rule,
            named: self.named,
        }
    }
}

fn expand(
    list: &PathList,
    key: &'static str,
    config: &DataConfig,
    storage: &Storage,
    listing: &mut Listing,
) -> Result<Vec<Found>, DataError> {
    let mut found: Vec<Found> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for entry in &list.0 {
        if entry.is_empty() {
            return Err(DataError::config(key, "has an empty path"));
        }
        let files = if is_location(entry) {
            remote::list(entry, key, config.config.as_deref(), storage, listing)?
        } else {
            local::list(entry, key, listing)?
        };
        for mut file in files {
            if !config.split_names {
                file.tag = None;
            }
            match places.get(&file.identity) {
                // Given by itself it has no split, wherever else it was found.
                Some(place) if file.named && !found[*place].named => {
                    found[*place].tag = None;
                    found[*place].named = true;
                }
                Some(place) => {
                    let first = &mut found[*place];
                    first.also(&file, listing);
                }
                None => {
                    places.insert(file.identity.clone(), found.len());
                    found.push(file);
                }
            }
        }
    }
    Ok(found)
}
