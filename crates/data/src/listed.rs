//! A file of a listing, as a source of documents.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evenburn_locations::{ContentId, LocationError, StoredFile};

use crate::decode::Format;
use crate::source::{ReadSeek, Source};
use crate::split::Tag;

/// A stored file, wherever it is, that documents are read from.
///
/// ```
/// use std::sync::Arc;
/// use evenburn_data::{ListedFile, documents};
/// use evenburn_locations::{Settings, Storage};
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("a.jsonl"), "{\"text\": \"one\"}\n")?;
/// let storage = Storage::new(Settings::of_process(folder.path()))?;
/// let listing = storage.list(&folder.path().display().to_string().parse()?)?;
/// let file = Arc::new(ListedFile::new(Arc::clone(&listing.files[0])));
/// assert_eq!(documents(file, "text")?.next().unwrap()?.text, "one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ListedFile {
    name: String,
    file: Arc<dyn StoredFile>,
    location: PathBuf,
    failure: Failure,
}

/// The split that the folders of a file of this machine or of a web server say. Paths of repositories and buckets begin at
/// their roots, so nothing more is above them.
fn in_folders_above(location: &str) -> Option<Tag> {
    let path = match location.split_once("://") {
        Some(("http" | "https", rest)) => rest.split_once('/')?.1,
        Some(_) => return None,
        None => location,
    };
    let parts = path.split(['/', std::path::MAIN_SEPARATOR]);
    parts.rev().skip(1).find_map(Tag::in_name)
}

/// The last error of a place. Decoders turn errors into words of their own.
type Failure = Arc<Mutex<Option<LocationError>>>;

impl ListedFile {
    /// Reads documents from a file, which is called by its path.
    pub fn new(file: Arc<dyn StoredFile>) -> Self {
        Self::named(file.path().to_owned(), file)
    }

    /// The same under a name: its path below a folder, say.
    pub(crate) fn named(name: String, file: Arc<dyn StoredFile>) -> Self {
        Self {
            name,
            location: PathBuf::from(file.location()),
            file,
            failure: Failure::default(),
        }
    }

    /// Whether the ending of its name is one that documents are read from.
    pub fn is_text(&self) -> bool {
        Format::of(self.name()).is_some()
    }

    /// The split that the names of its folders say, or else its own: `train`, `validation` or `test`. Where these say
    /// nothing, the folders of a web or local location as it was written, of which the nearest counts.
    pub fn split(&self) -> Option<&'static str> {
        let mut parts: Vec<&str> = self.file.path().split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let own = Tag::in_path(parts, Format::stem(name));
        own.or_else(|| in_folders_above(&self.file.location()))
            .map(Tag::name)
    }
}

fn note(failure: &Failure, error: LocationError) -> io::Error {
    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    error.into()
}

impl Source for ListedFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn location(&self) -> &Path {
        &self.location
    }

    fn size(&self) -> u64 {
        self.file.size()
    }

    fn stamp(&self) -> Option<String> {
        self.file
            .id()
            .is_digest()
            .then(|| self.file.id().to_string())
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        // A reader of other contents fails.
        Ok(true)
    }

    fn open(&self) -> io::Result<Box<dyn ReadSeek>> {
        // What failed before is over.
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let reader = self.file.open();
        let reader = reader.map_err(|error| note(&self.failure, error))?;
        Ok(Box::new(Noting {
            reader,
            failure: Arc::clone(&self.failure),
        }))
    }

    fn id(&self) -> &ContentId {
        self.file.id()
    }

    fn fetch(&self) -> io::Result<()> {
        if !self.file.is_ranged() {
            self.file.fetch()?;
        }
        Ok(())
    }

    fn is_here(&self) -> bool {
        self.file.is_here()
    }

    fn is_ranged(&self) -> bool {
        self.file.is_ranged()
    }

    fn release(&self) -> io::Result<bool> {
        Ok(self.file.release()?)
    }

    fn failure(&self) -> Option<LocationError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }
}

/// Remembers the error of a place.
struct Noting<R> {
    reader: R,
    failure: Failure,
}

impl<R: Read> Read for Noting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).inspect_err(|error| {
            if let Some(error) = LocationError::within(error) {
                note(&self.failure, error.clone());
            }
        })
    }
}

impl<R: Seek> Seek for Noting<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_above_a_file_say_its_split() {
        for (location, tag) in [
            (
                "http://h/files/corpus/train/part-01.jsonl",
                Some(Tag::Train),
            ),
            ("http://train/files/part-01.jsonl", None),
            ("https://h/test/validation/a.jsonl", Some(Tag::Validation)),
            ("https://h", None),
            ("/data/test/train/a.jsonl", Some(Tag::Train)),
            ("a/train.jsonl", None),
            ("hf://datasets/a/train/x.jsonl", None),
        ] {
            assert_eq!(in_folders_above(location), tag, "{location}");
        }
    }
}
