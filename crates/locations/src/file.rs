//! One file of a listing: what is known of it before its bytes are, and how to read it.

use std::fmt::{self, Debug};
use std::io::{Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;

use crate::LocationError;

/// What a file opens to.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// What tells a file's contents from others, as its listing has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentId {
    /// The SHA-256 of the bytes in hexadecimal digits: large files of the hub.
    Sha256(String),
    /// The SHA-1 that git gives the bytes as a blob: small files of the hub.
    GitSha1(String),
    /// The `ETag` of a server, quotes included. It can't be checked against the bytes.
    Etag(String),
    /// When it was changed last, as the server or the file system says.
    Modified(String),
    /// Nothing.
    Unknown,
}

impl ContentId {
    /// Whether bytes can be checked against it.
    pub fn is_digest(&self) -> bool {
        matches!(self, Self::Sha256(_) | Self::GitSha1(_))
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => write!(f, "sha256:{digest}"),
            Self::GitSha1(digest) => write!(f, "git:{digest}"),
            Self::Etag(tag) => write!(f, "etag:{tag}"),
            Self::Modified(date) => write!(f, "modified:{date}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A file of a listing. Threads may share it and open it as often as they like.
pub trait StoredFile: Debug + Send + Sync {
    /// Its path below the root of the place: the repository, the bucket, the folder that was given.
    fn path(&self) -> &str;

    /// Where it is, for people. Holds nothing secret.
    fn location(&self) -> String;

    /// Its size in bytes.
    fn size(&self) -> u64;

    /// What tells its contents from others.
    fn id(&self) -> &ContentId;

    /// Equal for all names of one stored file: its place without a revision, and its id. Holds nothing secret.
    fn identity(&self) -> String;

    /// A reader at the start of the file. The bytes of a file with a digest are checked before the first of them is read,
    /// unless it is larger than [`Settings::whole_up_to`](crate::Settings); then it is read by ranges, and no
    /// reader mixes two states of it. An I/O error of the reader may hold a [`LocationError`]
    /// ([`LocationError::within`]).
    ///
    /// # Errors
    /// Whatever the place answers.
    fn open(&self) -> Result<Box<dyn ReadSeek>, LocationError>;

    /// All of it on this machine's disk: checked, where it has a digest.
    ///
    /// # Errors
    /// Whatever the place answers, or the disk.
    fn fetch(&self) -> Result<PathBuf, LocationError>;

    /// Whether it is on this machine as a whole, as far as its size tells: opening it asks nobody then.
    fn is_here(&self) -> bool;

    /// Whether [`open`](Self::open) reads it where it lies, by ranges, because of its size. Its digest isn't checked then.
    fn is_ranged(&self) -> bool;

    /// Removes what [`fetch`](Self::fetch) has brought, and what is there of a fetch that was broken off; whoever reads it
    /// reads on. Nothing happens to a file of this machine, and to one that somebody fetches at this moment: `false`.
    ///
    /// # Errors
    /// What the disk answers.
    fn release(&self) -> Result<bool, LocationError>;
}

/// What a place holds, before any of it is read.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The commit that all files are of, where there is such a thing.
    pub commit: Option<String>,
    /// The files, in the bytewise order of their paths, each once.
    pub files: Vec<Arc<dyn StoredFile>>,
    /// The folder that the location names, or the one above all wildcards of its glob, without a slash at its end; empty for
    /// the root that paths begin at.
    pub folder: String,
    /// Whether the location names one file by itself.
    pub alone: bool,
    /// Where fetched files have their paths as names, if there is such a folder on this machine.
    pub snapshot: Option<PathBuf>,
    /// What whoever reads the listing should know of it, as a sentence.
    pub note: Option<&'static str>,
}

/// Somewhere files are.
pub trait Place: Debug + Send + Sync {
    /// The files that the location means.
    ///
    /// # Errors
    /// [`LocationError::NotFound`] where there are none, and whatever the place answers.
    fn list(&self) -> Result<Listing, LocationError>;
}
