//! A repository of the hub, as locations write it.

use std::fmt;

use crate::LocationError;
use crate::address::decode;
use crate::location::without_query;

/// A repository of the hub, and which of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) sort: RepositorySort,
    /// `OWNER/NAME`.
    pub(crate) id: String,
    pub(crate) revision: Option<String>,
    /// A path or a glob; all files where it is empty.
    pub(crate) path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepositorySort {
    Dataset,
    Model,
}

pub(crate) const NO_REVISION: &str = "that is no revision; name a branch, a tag or a commit";

/// Whether a text can name a revision. It becomes part of paths in the hub's cache.
pub(crate) fn is_revision(text: &str) -> bool {
    let inside = |part: &str| !matches!(part, "" | "." | "..");
    text.split('/').all(inside) && !text.contains(['\\', '\0', ':'])
}

impl Repository {
    pub(crate) fn parse(
        rest: &str,
        wrong: &dyn Fn(&str) -> LocationError,
    ) -> Result<Self, LocationError> {
        let form = "a repository is hf://datasets/OWNER/NAME[@REVISION][/GLOB], or hf://OWNER/NAME[@REVISION][/GLOB] for a model";
        let (sort, rest) = match rest.split_once('/') {
            Some(("datasets", rest)) => (RepositorySort::Dataset, rest),
            Some(("models", rest)) => (RepositorySort::Model, rest),
            Some(("spaces", _)) => return Err(wrong("spaces hold no data")),
            _ => (RepositorySort::Model, rest),
        };
        let (owner, rest) = rest.split_once('/').ok_or_else(|| wrong(form))?;
        let end = rest.find(['/', '@']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let proper = |part: &str| {
            let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty() && part != "." && part != ".." && part.chars().all(letters)
        };
        if !proper(owner) || !proper(name) {
            return Err(wrong(form));
        }
        let (revision, path) = match rest.strip_prefix('@') {
            Some(rest) => {
                let (revision, path) = split_revision(rest);
                let revision = decode(revision);
                if !is_revision(&revision) {
                    return Err(wrong(NO_REVISION));
                }
                (Some(revision), path)
            }
            None => (None, rest.trim_start_matches('/')),
        };
        Ok(Self {
            sort,
            id: format!("{owner}/{name}"),
            revision,
            path: path.to_owned(),
        })
    }

    /// The revision that is meant where none is written.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// Repository and revision: what a commit is looked up for.
    pub(crate) fn key(&self) -> String {
        format!("{}@{}", self.prefix(), self.revision())
    }

    /// `datasets/OWNER/NAME`, or `OWNER/NAME` for a model, as addresses of files have it.
    pub(crate) fn prefix(&self) -> String {
        match self.sort {
            RepositorySort::Dataset => format!("datasets/{}", self.id),
            RepositorySort::Model => self.id.clone(),
        }
    }
}

/// A revision and what follows. It ends at the next slash, but the hub's own references have three parts.
fn split_revision(text: &str) -> (&str, &str) {
    let special = ["refs/convert/", "refs/pr/", "refs/heads/"];
    let skip = special
        .iter()
        .find(|start| text.starts_with(**start))
        .map_or(0, |start| start.len());
    match text[skip..].find('/') {
        Some(at) => (&text[..skip + at], &text[skip + at + 1..]),
        None => (text, ""),
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf://{}", self.prefix())?;
        if let Some(revision) = &self.revision {
            if split_revision(revision).1.is_empty() {
                write!(f, "@{revision}")?;
            } else {
                write!(f, "@{}", revision.replace('/', "%2F"))?;
            }
        }
        match without_query(&self.path) {
            "" => Ok(()),
            path => write!(f, "/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_repositories() {
        let parse = |text: &str| {
            let wrong = |why: &str| LocationError::not_found(text, why);
            Repository::parse(text.strip_prefix("hf://").unwrap(), &wrong).unwrap()
        };
        let found = parse("hf://datasets/a/b@refs%2Fpr%2F3/x/y");
        assert_eq!(found.sort, RepositorySort::Dataset);
        assert_eq!(
            (found.id.as_str(), found.revision(), found.path.as_str()),
            ("a/b", "refs/pr/3", "x/y")
        );
        assert_eq!(found.key(), "datasets/a/b@refs/pr/3");
        let found = parse("hf://a/b");
        assert_eq!(found.sort, RepositorySort::Model);
        assert_eq!(
            (found.id.as_str(), found.revision, found.path.as_str()),
            ("a/b", None, "")
        );
    }
}
