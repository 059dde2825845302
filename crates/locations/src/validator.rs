//! How a server tells whether a file is still the same.

use crate::ContentId;
use crate::request::Answer;

/// What shows that answers are of the same contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// All bytes are checked against a digest in the end: what isn't surely different passes.
    Digest,
    /// What was known is repeated, or a part (206) came because a condition was met.
    Condition,
    /// What was known is repeated by every answer. There are many, over a long time, and some servers look at no condition.
    Tag,
}

/// What a server said of the contents it sends: the `ETag`, or without one the date of the last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validator {
    etag: Option<String>,
    modified: Option<String>,
}

fn is_weak(etag: &str) -> bool {
    etag.starts_with("W/")
}

/// A tag without the mark of a weak one.
fn strong(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
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

    /// Whether an answer may be of other contents, as far as nothing else will tell.
    pub(crate) fn differs(&self, answer: &Answer, proof: Proof) -> bool {
        let may_be_silent = match proof {
            Proof::Digest => true,
            Proof::Condition => answer.status == 206 && self.condition().is_some(),
            Proof::Tag => false,
        };
        self.differs_from(
            answer.header("etag"),
            answer.header("last-modified"),
            may_be_silent,
            proof == Proof::Digest,
        )
    }

    fn differs_from(
        &self,
        etag: Option<&str>,
        modified: Option<&str>,
        may_be_silent: bool,
        checked: bool,
    ) -> bool {
        match (&self.etag, &self.modified) {
            (Some(before), _) => match etag {
                None => !may_be_silent,
                // Servers make tags weak, and strong again, by whether they compress.
                Some(now) if checked => !is_weak(before) && !is_weak(now) && before != now,
                Some(now) => strong(before) != strong(now),
            },
            (None, Some(before)) => match modified {
                None => !may_be_silent,
                Some(now) => before != now,
            },
            (None, None) => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_digest_an_answer_repeats_what_was_known() {
        let etag = |tag: &str| Validator::listed(&ContentId::Etag(tag.into()));
        let date = Validator::listed(&ContentId::Modified("then".into()));
        for (known, tag, modified, differs) in [
            (etag("\"a\""), Some("\"a\""), None, false),
            (etag("\"a\""), Some("W/\"a\""), None, false),
            (etag("W/\"a\""), Some("\"a\""), None, false),
            (etag("\"a\""), Some("W/\"b\""), None, true),
            (etag("W/\"a\""), Some("W/\"b\""), None, true),
            (etag("\"a\""), None, Some("then"), true),
            (date.clone(), None, Some("then"), false),
            (date.clone(), Some("\"a\""), Some("now"), true),
            (date, None, None, true),
            (Validator::default(), Some("\"a\""), None, false),
        ] {
            let found = known.differs_from(tag, modified, false, false);
            assert_eq!(found, differs, "{known:?} {tag:?} {modified:?}");
        }
        // A digest tells in the end.
        assert!(!etag("W/\"a\"").differs_from(Some("\"b\""), None, true, true));
        assert!(!etag("\"a\"").differs_from(None, None, true, true));
        assert!(etag("\"a\"").differs_from(Some("\"b\""), None, true, true));
    }
}
