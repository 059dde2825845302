//! How a place of files is written.

use std::fmt;
use std::str::FromStr;

use crate::LocationError;
use crate::address::{Address, decode};

/// A place of files, as a user writes it.
///
/// | written | what it is |
/// |---|---|
/// | `hf://datasets/OWNER/NAME[@REVISION][/GLOB]` | files of a data set repository of the hub |
/// | `hf://OWNER/NAME[@REVISION][/GLOB]` | files of a model repository |
/// | `https://…`, `http://…` | a file of a web server, its folder (ends in `/`, if the server shows an index), or a glob |
/// | `s3://BUCKET/KEY` | objects of S3 or of what speaks its protocol (`AWS_ENDPOINT_URL_S3`) |
/// | `gs://BUCKET/KEY` | objects of Google Cloud Storage |
/// | `az://CONTAINER/BLOB` | blobs of Azure Storage |
/// | anything else | a file, a folder or a glob of this machine |
///
/// In globs `*` and `?` stand for any letters within a name, `**` for any folders, `[ab]` for one of some letters. A folder
/// stands for everything below it. A revision with slashes is written as it is where it begins with `refs/`, else with `%2F`.
///
/// `Display` writes it back, without a query, which may be a signature.
///
/// ```
/// use evenburn_locations::Location;
/// let text = "hf://datasets/DKYoon/SlimPajama-6B@main/data/train-*.parquet";
/// let location: Location = text.parse()?;
/// assert_eq!(location.to_string(), text);
/// # Ok::<(), evenburn_locations::LocationError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Location(pub(crate) Kind);

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Hub(Repository),
    Web(Address),
    Bucket(Bucket),
    Local(String),
}

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

/// Objects of an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) store: ObjectStore,
    pub(crate) name: String,
    /// A key, the beginning of keys up to a `/`, or a glob.
    pub(crate) path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectStore {
    S3,
    Google,
    Azure,
}

impl ObjectStore {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

impl Location {
    /// The same place at a revision, where it is a repository that names none.
    ///
    /// # Errors
    /// [`LocationError::NotFound`] where the text is no name of a revision.
    pub fn or_revision(mut self, revision: &str) -> Result<Self, LocationError> {
        let place = self.to_string();
        if let Kind::Hub(repository) = &mut self.0 {
            if !is_revision(revision) {
                return Err(LocationError::not_found(&place, NO_REVISION));
            }
            repository
                .revision
                .get_or_insert_with(|| revision.to_owned());
        }
        Ok(self)
    }

    /// Whether the files lie on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self.0, Kind::Local(_))
    }
}

impl FromStr for Location {
    type Err = LocationError;

    /// # Errors
    /// [`LocationError::NotFound`] where the text names no place.
    fn from_str(text: &str) -> Result<Self, LocationError> {
        let wrong = |message: &str| LocationError::not_found(&shown(text), message);
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.is_empty() {
                return Err(wrong("an empty place"));
            }
            return Ok(Self(Kind::Local(text.to_owned())));
        };
        let scheme = scheme.to_ascii_lowercase();
        let store = match scheme.as_str() {
            "hf" => return Repository::parse(rest, &wrong).map(|it| Self(Kind::Hub(it))),
            "http" | "https" => {
                let address = Address::parse(text).map_err(|why| wrong(&why))?;
                return Ok(Self(Kind::Web(address)));
            }
            "s3" => ObjectStore::S3,
            "gs" => ObjectStore::Google,
            "az" => ObjectStore::Azure,
            _ => {
                return Err(wrong(
                    "an unknown scheme; there are hf://, http://, https://, s3://, gs://, az:// and paths of this machine",
                ));
            }
        };
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() || name.contains(['*', '?', '[', '%', '@']) {
            return Err(wrong(&format!(
                "name a bucket: {scheme}://BUCKET/KEY or {scheme}://BUCKET/GLOB"
            )));
        }
        Ok(Self(Kind::Bucket(Bucket {
            store,
            name: name.to_owned(),
            path: path.to_owned(),
        })))
    }
}

/// What may be shown of a text that may hold a signature, or a user's password before the host.
fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let rest = match scheme.to_ascii_lowercase().as_str() {
        "hf" | "s3" | "gs" => without_query(rest),
        _ => rest.split('?').next().unwrap_or_default(),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// A path up to a query of names and values. Another `?` is part of a glob.
fn without_query(path: &str) -> &str {
    match path.split_once('?') {
        Some((before, query)) if query.contains('=') => before,
        _ => path,
    }
}

const NO_REVISION: &str = "that is no revision; name a branch, a tag or a commit";

/// Whether a text can name a revision. It becomes part of paths in the hub's cache.
fn is_revision(text: &str) -> bool {
    let inside = |part: &str| !matches!(part, "" | "." | "..");
    text.split('/').all(inside) && !text.contains(['\\', '\0', ':'])
}

impl Repository {
    fn parse(rest: &str, wrong: &dyn Fn(&str) -> LocationError) -> Result<Self, LocationError> {
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

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Hub(repository) => {
                write!(f, "hf://{}", repository.prefix())?;
                if let Some(revision) = &repository.revision {
                    if split_revision(revision).1.is_empty() {
                        write!(f, "@{revision}")?;
                    } else {
                        write!(f, "@{}", revision.replace('/', "%2F"))?;
                    }
                }
                match without_query(&repository.path) {
                    "" => Ok(()),
                    path => write!(f, "/{path}"),
                }
            }
            Kind::Web(address) => write!(f, "{address}"),
            Kind::Bucket(bucket) => {
                let path = without_query(&bucket.path);
                write!(f, "{}://{}/{path}", bucket.store.scheme(), bucket.name)
            }
            Kind::Local(path) => f.write_str(path),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_written_back() {
        for text in [
            "hf://datasets/DKYoon/SlimPajama-6B",
            "hf://datasets/a/b@main/train/**/*.jsonl.zst",
            "hf://datasets/a/b@refs/convert/parquet/default/train/0000.parquet",
            "hf://datasets/a/b@my%2Fbranch/x",
            "hf://EleutherAI/gpt-neox-20b/tokenizer.json",
            "https://host:8000/a/b.jsonl",
            "s3://bucket/corpus/**/*.jsonl.zst",
            "gs://bucket/",
            "az://container/a.parquet",
            "/data/*.jsonl",
            "relative/folder",
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), text);
            let again: Location = location.to_string().parse().unwrap();
            assert_eq!(again, location);
        }
    }

    #[test]
    fn parts_of_repositories() {
        let parse = |text: &str| match text.parse::<Location>().unwrap().0 {
            Kind::Hub(repository) => (
                repository.sort,
                repository.id,
                repository.revision,
                repository.path,
            ),
            _ => panic!("{text} is a repository"),
        };
        let (sort, id, revision, path) = parse("hf://datasets/a/b@refs%2Fpr%2F3/x/y");
        assert_eq!(sort, RepositorySort::Dataset);
        assert_eq!(
            (id.as_str(), revision.as_deref(), path.as_str()),
            ("a/b", Some("refs/pr/3"), "x/y")
        );
        let (sort, id, revision, path) = parse("hf://a/b");
        assert_eq!(sort, RepositorySort::Model);
        assert_eq!((id.as_str(), revision, path.as_str()), ("a/b", None, ""));
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in [
            "",
            "hf://",
            "hf://datasets/a",
            "hf://a",
            "hf://datasets/../b",
            "hf://datasets/a/b@",
            "hf://datasets/a/b@..%2Fx",
            "hf://spaces/a/b",
            "ftp://a/b",
            "s3:///x",
            "s3://",
            "http://",
            "https://user:word@host/x",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert_eq!(error.class(), "not_found", "{text}");
        }
    }

    #[test]
    fn signatures_are_not_shown() {
        let text = "https://account.blob.core.windows.net/c/a.jsonl?sig=secret";
        let location: Location = text.parse().unwrap();
        assert!(!format!("{location} {location:?}").contains("secret"));
        for text in [
            "https://a@b/c?sig=secret",
            "HTTPS://user:secret@host/a",
            "ftp://user:secret@host/a",
            "ftp://host/a?sig=secret",
            "az://?sig=secret",
            "s3:///key?X-Amz-Signature=secret",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        for text in [
            "HTTPS://host/a?sig=secret",
            "az://container/a?sv=1&sig=secret",
            "s3://bucket/a?X-Amz-Signature=secret",
        ] {
            let location: Location = text.parse().unwrap();
            assert!(!format!("{location} {location:?}").contains("secret"));
        }
    }

    #[test]
    fn schemes_are_of_any_case() {
        let location: Location = "S3://bucket/a?.jsonl".parse().unwrap();
        assert_eq!(location.to_string(), "s3://bucket/a?.jsonl");
    }

    #[test]
    fn a_revision_is_added_once() {
        let with = |text: &str| {
            text.parse::<Location>()
                .unwrap()
                .or_revision("v2")
                .unwrap()
                .to_string()
        };
        assert_eq!(with("hf://datasets/a/b/x"), "hf://datasets/a/b@v2/x");
        assert_eq!(with("hf://datasets/a/b@v1/x"), "hf://datasets/a/b@v1/x");
        assert_eq!(with("s3://a/b"), "s3://a/b");
        let location: Location = "hf://datasets/a/b".parse().unwrap();
        for text in ["", "../..", "/x", "a//b", "a\\b"] {
            let error = location.clone().or_revision(text).unwrap_err();
            assert_eq!(error.class(), "not_found", "{text}");
        }
    }
}
