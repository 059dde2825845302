//! How a place of files is written.

use std::fmt;
use std::str::FromStr;

use crate::LocationError;
use crate::address::Address;
use crate::repository::{NO_REVISION, Repository, RepositorySort, is_revision};

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

    /// Whether it is a repository without a path or glob: all its files.
    pub fn is_whole_repository(&self) -> bool {
        matches!(&self.0, Kind::Hub(repository) if repository.path.is_empty())
    }

    /// Whether it is a data set repository without a path or glob.
    pub fn is_whole_dataset(&self) -> bool {
        let is_dataset = |it: &Repository| it.sort == RepositorySort::Dataset;
        self.is_whole_repository() && matches!(&self.0, Kind::Hub(it) if is_dataset(it))
    }

    /// Other files of the same repository at the same revision, by a path or a glob; `None` where it is no repository.
    ///
    /// ```
    /// use evenburn_locations::Location;
    /// let location: Location = "hf://EleutherAI/gpt-neox-20b@main".parse()?;
    /// let file = location.in_repository("tokenizer.json").map(|file| file.to_string());
    /// assert_eq!(file.as_deref(), Some("hf://EleutherAI/gpt-neox-20b@main/tokenizer.json"));
    /// # Ok::<(), evenburn_locations::LocationError>(())
    /// ```
    pub fn in_repository(&self, path: &str) -> Option<Self> {
        let Kind::Hub(repository) = &self.0 else {
            return None;
        };
        let path = path.to_owned();
        let repository = repository.clone();
        Some(Self(Kind::Hub(Repository { path, ..repository })))
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
        if name.is_empty() || name.contains(['*', '?', '[', '%', '@', ':']) {
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

/// What may be shown of a text that names no place: it may hold a signature, or a user's password before the host. Passwords
/// may have slashes in them, so what follows a colon is not shown up to the last `@`.
fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let rest = match scheme.to_ascii_lowercase().as_str() {
        "hf" | "s3" | "gs" => without_query(rest),
        _ => rest.split('?').next().unwrap_or_default(),
    };
    let rest = match rest.rsplit_once('@') {
        Some((before, after)) if before.contains(':') => after,
        _ => rest,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = match scheme.to_ascii_lowercase().as_str() {
        // What follows is a revision.
        "hf" => authority,
        _ => authority.rsplit('@').next().unwrap_or_default(),
    };
    format!("{scheme}://{host}{path}")
}

/// A path up to a query of names and values. Another `?` is part of a glob.
pub(crate) fn without_query(path: &str) -> &str {
    match path.split_once('?') {
        Some((before, query)) if query.contains('=') => before,
        _ => path,
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Hub(repository) => write!(f, "{repository}"),
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
            "https://user:secret/secret@host/a",
            "http://user:/secret@host/a",
            "s3://key:secret/secret@bucket/a",
            "ftp://user:secret/@host/a",
            "hf://user:secret/secret@a/b",
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
