//! A file that lies elsewhere: its bytes in order, each once, whatever happens on the way.

use std::fmt::Debug;
use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use std::io::Read;

use crate::address::Address;
use crate::cache::Slot;
use crate::file::{ContentId, ReadSeek, StoredFile};
use crate::ranges::RangeReader;
use crate::request::{Anonymous, Answer, Ask, Trouble, judge};
use crate::storage::Shared;
use crate::validator::{Proof, Validator};
use crate::{LocationError, cache};

/// What all files of a remote place have in common.
pub(crate) trait Remote: Debug + Send + Sync {
    /// The request for a file's bytes.
    fn ask(&self, path: &str) -> Ask;
    /// Where a file is, for people.
    fn place(&self, path: &str) -> String;
    /// The same, equal for all revisions.
    fn lasting_place(&self, path: &str) -> String {
        self.place(path)
    }
    /// Where its bytes are kept on this machine.
    fn slot(&self, path: &str, id: &ContentId) -> Slot;
}

/// Where bytes go.
pub(crate) trait Sink {
    /// What shows that they are of the contents that reading began with.
    fn proof(&self) -> Proof;
    fn write(&mut self, bytes: &[u8]) -> Result<(), LocationError>;
    /// Everything written comes again.
    fn restart(&mut self) -> Result<(), LocationError>;
}

/// What reading has shown so far.
#[derive(Debug, Clone, Default)]
struct Seen {
    validator: Validator,
    /// A presigned address that the hub gave.
    direct: Option<Address>,
    /// The block that was read last by ranges.
    block: Option<u64>,
}

/// A file that lies elsewhere. Its clones share what was seen of it.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFile {
    /// Another one for every entry of every listing.
    pub(crate) number: u64,
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) id: ContentId,
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) shared: Arc<Shared>,
    seen: Arc<Mutex<Seen>>,
}

impl RemoteFile {
    pub(crate) fn new(
        path: String,
        size: u64,
        id: ContentId,
        remote: &Arc<dyn Remote>,
        shared: &Arc<Shared>,
    ) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let validator = Validator::listed(&id);
        Self {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            path,
            size,
            id,
            remote: Arc::clone(remote),
            shared: Arc::clone(shared),
            seen: Arc::new(Mutex::new(Seen {
                validator,
                ..Seen::default()
            })),
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a span from `at` on, each once and in order. What came before a failure doesn't come again, unless
    /// nothing would tell whether the file is still the same: then the sink starts again.
    ///
    /// # Errors
    /// [`LocationError::Changed`] where the file isn't what it was, and whatever the server answers.
    pub(crate) fn copy(
        &self,
        span: &Range<u64>,
        mut at: u64,
        sink: &mut dyn Sink,
    ) -> Result<(), LocationError> {
        let place = self.location();
        let mut furthest = at;
        let mut refused = false;
        let copied = self.shared.client.persist(&place, |further| {
            if at > span.start && !self.is_resumable() {
                sink.restart()?;
                at = span.start;
            }
            let done = self.attempt(span, &mut at, &mut refused, sink);
            *further = at > furthest;
            furthest = furthest.max(at);
            done
        });
        copied.map_err(|error| match error {
            LocationError::Unavailable { place, message } if refused => {
                LocationError::Denied { place, message }
            }
            other => other,
        })
    }

    /// Whether a part that came can be completed later: either the digest or the server will tell if it is the same file.
    fn is_resumable(&self) -> bool {
        self.id.is_digest() || self.seen().validator.condition().is_some()
    }

    /// Notes that a block is read by ranges; whether it follows the one before.
    pub(crate) fn follows(&self, block: u64) -> bool {
        let before = self.seen().block.replace(block);
        before.is_some_and(|before| before + 1 == block)
    }

    fn attempt(
        &self,
        span: &Range<u64>,
        at: &mut u64,
        refused: &mut bool,
        sink: &mut dyn Sink,
    ) -> Result<(), Trouble> {
        if *at >= span.end {
            return Ok(());
        }
        let mut ask = self.remote.ask(&self.path);
        let own = ask.address.origin();
        let ranged = *at > 0 || span.end < self.size;
        let seen = self.seen().clone();
        if ranged {
            let range = format!("bytes={}-{}", *at, span.end - 1);
            ask.headers.push(("range", range));
            if let Some(condition) = seen.validator.condition() {
                ask.headers.push(("if-range", condition.to_owned()));
            }
        }
        if let Some(direct) = seen.direct {
            ask.address = direct;
            ask.access = Arc::new(Anonymous);
        }
        let mut reached = ask.address.clone();
        let answer = self.shared.client.exchange(&ask, &mut reached);
        let elsewhere = reached.origin() != own;
        self.seen().direct = elsewhere.then_some(reached);
        let answer = answer?;
        *refused = elsewhere && matches!(answer.status, 400 | 401 | 403);
        if *refused {
            // Presigned addresses run out; the next attempt asks for another.
            self.seen().direct = None;
            let status = answer.status;
            return Err(Trouble::Passing(format!(
                "{} refuses the address that it was given ({status})",
                answer.address.authority()
            )));
        }
        if answer.status == 416 {
            let total = answer
                .header("content-range")
                .and_then(|range| range.strip_prefix("bytes */"));
            let total = total.and_then(|total| total.trim().parse().ok());
            self.has_size(total)?;
            return Err(Trouble::Passing("the server has no such range".to_owned()));
        }
        let answer = judge(&ask, answer)?;
        let part = self.part(&answer, *at, ranged, sink.proof())?;
        self.take(answer, part, span, at, sink)
    }

    fn has_size(&self, size: Option<u64>) -> Result<(), LocationError> {
        match size {
            Some(size) if size != self.size => Err(self.changed(&format!(
                "it has {size} bytes, and had {} when it was listed",
                self.size
            ))),
            _ => Ok(()),
        }
    }

    fn changed(&self, what: &str) -> LocationError {
        let message = format!(
            "the file has changed since it was listed: {what}. List it again, or name a revision that stays"
        );
        LocationError::changed(&self.location(), message)
    }

    /// Which bytes an answer holds, if they are of the file that was listed and begin where they should or before.
    fn part(
        &self,
        answer: &Answer,
        at: u64,
        ranged: bool,
        proof: Proof,
    ) -> Result<Range<u64>, Trouble> {
        if !ranged && answer.status == 206 {
            return Err(Trouble::Passing(
                "a part came that nobody asked for".to_owned(),
            ));
        }
        let part = if answer.status == 206 {
            let range = answer.header("content-range").and_then(content_range);
            let Some((part, total)) = range else {
                return Err(Trouble::Passing(
                    "the server doesn't say which part it sends".to_owned(),
                ));
            };
            self.has_size(total)?;
            if part.start != at {
                let first = part.start;
                return Err(Trouble::Passing(format!(
                    "the server sends bytes from {first} on, where {at} was asked for"
                )));
            }
            part
        } else {
            self.has_size(answer.length())?;
            0..self.size
        };
        let mut seen = self.seen();
        if seen.validator.differs(answer, proof) {
            drop(seen);
            return Err(self.changed("the server has other contents for it").into());
        }
        seen.validator.learn(answer);
        Ok(part)
    }

    /// Passes on what is new in an answer's body.
    fn take(
        &self,
        mut answer: Answer,
        part: Range<u64>,
        span: &Range<u64>,
        at: &mut u64,
        sink: &mut dyn Sink,
    ) -> Result<(), Trouble> {
        let client = &self.shared.client;
        let mut buffer = vec![0; 1 << 16];
        let mut position = part.start;
        let end = part.end.min(span.end);
        while position < end {
            let most = (end - position).min(buffer.len() as u64) as usize;
            let read = match answer.body.read(&mut buffer[..most]) {
                Ok(0) => return Err(Trouble::Passing("the answer ends too early".to_owned())),
                Ok(read) => read,
                Err(e) => return Err(Trouble::Passing(client.words(&e))),
            };
            client.traffic().received(read);
            // Where the server ignores ranges, what is there already is passed over.
            let known = at.saturating_sub(position).min(read as u64) as usize;
            sink.write(&buffer[known..read])?;
            position += read as u64;
            *at = (*at).max(position);
        }
        if position == part.end {
            // Reading to the end lets the connection serve the next request; a length that isn't announced shows here.
            let more = answer.body.read(&mut buffer[..1]).unwrap_or(0);
            if more > 0 && part.end == self.size {
                return Err(self.changed("it is longer than it was").into());
            }
        }
        if *at < span.end {
            return Err(Trouble::Passing(
                "the server sends less than was asked for".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The bytes and the whole size that a `Content-Range` names.
fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    let part = first..last.checked_add(1)?;
    (first <= last).then_some((part, total))
}

impl StoredFile for RemoteFile {
    fn path(&self) -> &str {
        &self.path
    }

    fn location(&self) -> String {
        self.remote.place(&self.path)
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn id(&self) -> &ContentId {
        &self.id
    }

    fn identity(&self) -> String {
        format!("{} {}", self.remote.lasting_place(&self.path), self.id)
    }

    fn open(&self) -> Result<Box<dyn ReadSeek>, LocationError> {
        if !self.is_ranged() {
            let path = self.fetch()?;
            let file = File::open(&path).map_err(|e| LocationError::disk("open", &path, &e))?;
            return Ok(Box::new(file));
        }
        if !self.is_resumable() {
            let why = format!(
                "it is too large to be fetched whole, and its server tells neither a digest nor a strong ETag nor a date, so that nothing would show if it changed between two parts; raise data.cache_bytes to more than twice its {} bytes",
                self.size
            );
            return Err(LocationError::unavailable(&self.location(), why));
        }
        Ok(Box::new(RangeReader::new(self.clone())))
    }

    fn fetch(&self) -> Result<PathBuf, LocationError> {
        cache::fetch(self)
    }

    fn is_here(&self) -> bool {
        cache::is_here(self)
    }

    fn is_ranged(&self) -> bool {
        self.size > self.shared.whole_up_to
            && !self.remote.slot(&self.path, &self.id).offline
            && !self.is_here()
    }

    fn release(&self) -> Result<bool, LocationError> {
        cache::release(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 0-9/20"), Some((0..10, Some(20))));
        assert_eq!(content_range("bytes 5-5/*"), Some((5..6, None)));
        for text in [
            "bytes */20",
            "bytes 9-0/20",
            "0-9/20",
            "bytes 0-9",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }
}
