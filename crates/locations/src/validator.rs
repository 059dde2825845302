//! How a server tells whether a file is still the same.

use crate::ContentId;
use crate::request::Answer;

/// What a server said of the contents it sends: the `ETag`, or without one the date of the last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validator {
    etag: Option<String>,
    modified: Option<String>,
}

fn is_weak(etag: &str) -> bool {
    etag.starts_with("W/")
}

impl Validator {
    /// As a listing has it.
    pub(crate) fn listed(id: &ContentId) -> Self {
        match id {
            ContentId::Etag(etag) => Self {
                etag: Some(etag.clone()),
                modified: None,
            },
            ContentId::Modified(date) => Self {
                etag: None,
                modified: Some(date.clone()),
            },
            _ => Self::default(),
        }
    }

    /// What `If-Range` takes: a strong `ETag`, or a date where there is no `ETag` at all. Weak ones mean equal texts and not
    /// equal bytes.
    pub(crate) fn condition(&self) -> Option<&str> {
        match &self.etag {
            Some(etag) => Some(etag.as_str()).filter(|etag| !is_weak(etag)),
            None => self.modified.as_deref(),
        }
    }

    /// Whether an answer is surely of other contents. `checked` says that a digest will tell in the end, `whole` that all of
    /// the file came where a part was asked for, which may mean either.
    pub(crate) fn differs(&self, answer: &Answer, checked: bool, whole: bool) -> bool {
        match (&self.etag, answer.header("etag")) {
            (Some(before), Some(now)) => match (is_weak(before), is_weak(now)) {
                (false, false) => before != now,
                (true, true) => before != now && !checked,
                _ => false,
            },
            // The condition wasn't met, or the server knows none.
            (Some(_), None) => whole && !checked,
            (None, _) => match (&self.modified, answer.header("last-modified")) {
                (Some(before), Some(now)) => before != now,
                _ => false,
            },
        }
    }

    /// Keeps what the first answer says.
    pub(crate) fn learn(&mut self, answer: &Answer) {
        if self.etag.is_some() || self.modified.is_some() {
            return;
        }
        self.etag = answer.header("etag").map(str::to_owned);
        if self.etag.is_none() {
            self.modified = answer.header("last-modified").map(str::to_owned);
        }
    }
}
