//! The one error type of this crate.

use std::io;
use std::path::Path;

/// Why files of a location can't be listed or read.
///
/// Every variant names the place and says in words what is wrong and what helps. No message shows a token or the query of
/// an address, which may be a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The contents are not those that were listed, or with which reading began.
    #[error("{place}: {message}")]
    Changed {
        /// Where.
        place: String,
        /// What differs.
        message: String,
    },
    /// The bytes are damaged: their digest is not the one of the listing, or they can't be decoded.
    #[error("{place}: {message}")]
    Corrupt {
        /// Where.
        place: String,
        /// What is wrong with them.
        message: String,
    },
    /// Whoever keeps the file doesn't let us read it.
    #[error("{place}: {message}")]
    Denied {
        /// Where.
        place: String,
        /// Why, and what helps.
        message: String,
    },
    /// There is no such file, repository or revision.
    #[error("{place}: {message}")]
    NotFound {
        /// Where.
        place: String,
        /// What is missing.
        message: String,
    },
    /// A listing that can't be used: no list, a page that comes again, names that lead out of the place.
    #[error("{place}: {message}")]
    BadListing {
        /// Where.
        place: String,
        /// What is wrong with it.
        message: String,
    },
    /// Redirects that lead nowhere, or where they must not.
    #[error("{place}: {message}")]
    Redirects {
        /// Where.
        place: String,
        /// What is wrong with them.
        message: String,
    },
    /// The server or this machine's disk fails, and went on failing.
    #[error("{place}: {message}")]
    Unavailable {
        /// Where.
        place: String,
        /// The last failure, and what helps.
        message: String,
    },
}

const FULL_DISK: &str =
    "the disk is full; free some space, or let the cache lie on another disk (HF_HOME, data.cache)";

impl LocationError {
    /// The variant's name in lower case, for programs that read messages: `changed`, `corrupt`, `denied`, `not_found`,
    /// `bad_listing`, `redirects` or `unavailable`.
    ///
    /// ```
    /// use evenburn_locations::LocationError;
    /// let place = "hf://datasets/a/b".to_owned();
    /// let error = LocationError::NotFound { place, message: "no such repository".to_owned() };
    /// assert_eq!(error.class(), "not_found");
    /// ```
    pub fn class(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "changed",
            Self::Corrupt { .. } => "corrupt",
            Self::Denied { .. } => "denied",
            Self::NotFound { .. } => "not_found",
            Self::BadListing { .. } => "bad_listing",
            Self::Redirects { .. } => "redirects",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Whether it is room on this machine's disk that lacks.
    pub fn is_full_disk(&self) -> bool {
        matches!(self, Self::Unavailable { message, .. } if message == FULL_DISK)
    }

    /// The error inside an I/O error of one of this crate's readers.
    pub fn within(error: &io::Error) -> Option<&Self> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    pub(crate) fn changed(place: &str, message: impl Into<String>) -> Self {
        Self::Changed {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn corrupt(place: &str, message: impl Into<String>) -> Self {
        Self::Corrupt {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn denied(place: &str, message: impl Into<String>) -> Self {
        Self::Denied {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn not_found(place: &str, message: impl Into<String>) -> Self {
        Self::NotFound {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn bad_listing(place: &str, message: impl Into<String>) -> Self {
        Self::BadListing {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn redirects(place: &str, message: impl Into<String>) -> Self {
        Self::Redirects {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn unavailable(place: &str, message: impl Into<String>) -> Self {
        Self::Unavailable {
            place: place.to_owned(),
            message: message.into(),
        }
    }

    /// What the system answered to work on a file of this machine.
    pub(crate) fn disk(action: &str, path: &Path, error: &io::Error) -> Self {
        let place = path.display().to_string();
        match error.kind() {
            io::ErrorKind::NotFound => Self::not_found(&place, "no such file or folder"),
            io::ErrorKind::PermissionDenied => {
                Self::denied(&place, format!("no permission to {action} it"))
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::unavailable(&place, FULL_DISK)
            }
            _ => Self::unavailable(&place, format!("cannot {action} it: {error}")),
        }
    }
}

impl From<LocationError> for io::Error {
    fn from(error: LocationError) -> Self {
        Self::other(error)
    }
}
