//! Files of hubs, object stores and web servers.

use std::path::Path;
use std::sync::Arc;

use evenburn_locations::{Location, Storage};

use super::card::{self, Part, Roles};
use super::{Found, LeftOut, Listing};
use crate::decode::{FORMATS, Format};
use crate::split::Tag;
use crate::{DataError, ListedFile};

/// The files that an entry of the key `key` names, each once; what is left out goes into the listing. Of a data set
/// repository that is named without a path, those of the configuration `chosen`, if its card has several.
///
/// # Errors
/// What the place answers, and an entry that names nothing.
pub(super) fn list(
    entry: &str,
    key: &'static str,
    chosen: Option<&str>,
    storage: &Storage,
    listing: &mut Listing,
) -> Result<Vec<Found>, DataError> {
    let fault = |source| DataError::Place { key, source };
    let location: Location = entry.parse().map_err(fault)?;
    let parts = card::parts(&location, key, chosen, storage)?;
    let mut found = Vec::new();
    for Part { files, roles } in parts {
        let listed = storage.list(&files).map_err(fault)?;
        listing
            .notes
            .extend(listed.note.map(|note| format!("{files}: {note}")));
        // The files of a card have their names from the repository's root on, whatever globs find them.
        let folder = if files == location {
            listed.folder.as_str()
        } else {
            ""
        };
        for file in &listed.files {
            let name = below(folder, file.path()).to_owned();
            // A file that is given by itself has no split, and has to be text.
            let alone = listed.alone && roles == Roles::Names;
            if Format::of(&name).is_some() {
                found.push(Found {
                    tag: match roles {
                        Roles::Card(tag) => tag,
                        Roles::Names if alone => None,
                        Roles::Names => tag_of(&name),
                    },
                    named: alone,
                    identity: file.identity(),
                    source: Arc::new(ListedFile::named(name, Arc::clone(file))),
                });
            } else if alone {
                return Err(DataError::UnknownFormat {
                    path: file.location().into(),
                    formats: FORMATS.into(),
                });
            } else {
                let ending = Path::new(&name).extension();
                let ending = ending.map_or_else(String::new, |e| format!(".{}", e.display()));
                listing.leave_out(LeftOut::Format(ending), name);
            }
        }
    }
    if found.is_empty() {
        return Err(DataError::NothingMatched {
            key,
            pattern: location.to_string(),
            formats: FORMATS.into(),
        });
    }
    found.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(found)
}

/// A path without the folder that it lies in.
fn below<'a>(folder: &str, path: &'a str) -> &'a str {
    let below = path.strip_prefix(folder).unwrap_or(path);
    below.trim_start_matches('/')
}

/// What the names below a folder say.
fn tag_of(name: &str) -> Option<Tag> {
    let mut parts: Vec<&str> = name.split('/').collect();
    let file = parts.pop()?;
    Tag::in_path(parts, Format::stem(file))
}
