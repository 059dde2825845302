//! The one entrance: places by their locations, and what all of them share.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::{INCOMPLETE, beside};
use crate::clock::{Clock, SystemClock};
use crate::environment::{Environment, HubSettings};
use crate::file::{Listing, Place};
use crate::http::{Client, Traffic};
use crate::hub::HubPlace;
use crate::local::LocalPlace;
use crate::location::{Kind, ObjectStore};
use crate::passing::Passing;
use crate::plain::{LOCK, is_blob};
use crate::ranges::Blocks;
use crate::repository::Repository;
use crate::web::WebPlace;
use crate::{Location, LocationError, azure, s3};

/// The folder of files that aren't from the hub, below one that a user names and may keep other things in.
const FOLDER: &str = "evenburn-files";

/// Bytes of a card that are read: what programs look at stands in its first lines.
const CARD: u64 = 4 << 20;

/// What all places share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) blocks: Blocks,
    /// Blobs that this process has checked.
    pub(crate) verified: Mutex<HashSet<PathBuf>>,
    /// Files that nobody else may use.
    pub(crate) passing: Passing,
    /// Commits by repository and revision: a revision is looked up once.
    pub(crate) commits: Mutex<HashMap<String, String>>,
    /// Files up to this size are fetched whole.
    pub(crate) whole_up_to: u64,
    /// Bytes of one request of those that are read by ranges.
    pub(crate) block: u64,
    /// Where files of others than the hub are kept.
    pub(crate) cache: PathBuf,
}

/// Lists and opens the files of locations. Threads share one, and with it connections, limits and what was looked up.
#[derive(Debug, Clone)]
pub struct Storage {
    shared: Arc<Shared>,
    hub: HubSettings,
    environment: Environment,
}

/// How a [`Storage`] is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the variables of the environment are.
    pub environment: Environment,
    /// The folder below which files are kept that aren't from the hub.
    pub cache: PathBuf,
    /// Files larger than this are read by ranges and not fetched whole; their digests aren't checked then.
    pub whole_up_to: u64,
    /// Bytes of one request of a file that is read by ranges, at least 1.
    pub block: u64,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Settings {
    /// Those of this process: its variables, all files whole.
    pub fn of_process(cache: &Path) -> Self {
        Self {
            environment: Environment::of_process(),
            cache: cache.to_path_buf(),
            whole_up_to: u64::MAX,
            // A row group of Parquet has some 100 MB, a page of it some 100 kB.
            block: 4 << 20,
            clock: Arc::new(SystemClock::default()),
        }
    }
}

impl Storage {
    /// Files of the hub are kept in the cache of `huggingface_hub`, those of others below the cache folder.
    ///
    /// # Errors
    /// `HF_ENDPOINT` is no address, or `SSL_CERT_FILE` names a file without certificates.
    pub fn new(settings: Settings) -> Result<Self, LocationError> {
        let environment = settings.environment;
        let hub = HubSettings::new(&environment)?;
        let shared = Shared {
            client: Client::new(&environment, Arc::clone(&settings.clock))?,
            clock: settings.clock,
            blocks: Blocks::default(),
            verified: Mutex::default(),
            passing: Passing::new(),
            commits: Mutex::default(),
            whole_up_to: settings.whole_up_to,
            block: settings.block.max(1),
            cache: settings.cache.join(FOLDER),
        };
        Ok(Self {
            shared: Arc::new(shared),
            hub,
            environment,
        })
    }

    /// The place that a location names.
    ///
    /// # Errors
    /// A malformed glob, or variables that contradict themselves.
    pub fn place(&self, location: &Location) -> Result<Box<dyn Place>, LocationError> {
        let shared = &self.shared;
        Ok(match &location.0 {
            Kind::Hub(repository) => Box::new(HubPlace::new(repository, &self.hub, shared)?),
            Kind::Web(address) => Box::new(WebPlace::new(address, shared)?),
            Kind::Local(path) => Box::new(LocalPlace::new(path)?),
            Kind::Bucket(bucket) => match bucket.store {
                ObjectStore::Azure => azure::place(bucket, &self.environment, shared)?,
                _ => s3::place(bucket, &self.environment, shared)?,
            },
        })
    }

    /// The files that a location means.
    ///
    /// # Errors
    /// [`LocationError::NotFound`] where there are none, and whatever the place answers.
    ///
    /// ```
    /// use evenburn_locations::{Settings, Storage};
    /// use std::io::Read;
    /// # let folder = tempfile::tempdir()?;
    /// std::fs::write(folder.path().join("a.jsonl"), "{\"text\": \"one\"}\n")?;
    /// let storage = Storage::new(Settings::of_process(folder.path()))?;
    /// let listing = storage.list(&folder.path().display().to_string().parse()?)?;
    /// assert_eq!((listing.files[0].path(), listing.files[0].size()), ("a.jsonl", 16));
    /// let mut text = String::new();
    /// listing.files[0].open()?.read_to_string(&mut text)?;
    /// assert_eq!(text, "{\"text\": \"one\"}\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn list(&self, location: &Location) -> Result<Listing, LocationError> {
        let mut listing = self.place(location)?.list()?;
        if listing.files.is_empty() {
            let why = "there are no such files";
            return Err(LocationError::not_found(&location.to_string(), why));
        }
        listing.files.sort_by(|a, b| a.path().cmp(b.path()));
        Ok(listing)
    }

    /// The text of a repository's card, its `README.md`; none where there is none, or no repository.
    ///
    /// # Errors
    /// Whatever the place answers.
    pub fn card(&self, location: &Location) -> Result<Option<String>, LocationError> {
        let Some(card) = location.in_repository("README.md") else {
            return Ok(None);
        };
        let files = match self.list(&card) {
            Ok(listing) => listing.files,
            Err(LocationError::NotFound { .. }) => return Ok(None),
            // What was fetched without it is used without it.
            Err(LocationError::Unavailable { .. }) if self.hub.offline => return Ok(None),
            Err(other) => return Err(other),
        };
        let Some(file) = files.first() else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let read = file.open()?.take(CARD).read_to_end(&mut bytes);
        read.map_err(|e| match LocationError::within(&e) {
            Some(error) => error.clone(),
            None => LocationError::unavailable(&file.location(), e.to_string()),
        })?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// A location as it is written, at the commit that its repository was listed at by this storage: it will mean the same
    /// files. `None` where it does so already, or isn't a repository that was listed.
    ///
    /// ```
    /// use evenburn_locations::{Settings, Storage};
    /// # let folder = tempfile::tempdir()?;
    /// let storage = Storage::new(Settings::of_process(folder.path()))?;
    /// assert_eq!(storage.pinned("s3://bucket/a.jsonl"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pinned(&self, written: &str) -> Option<String> {
        let Location(Kind::Hub(repository)) = written.parse::<Location>().ok()? else {
            return None;
        };
        let commits = &self.shared.commits;
        let commits = commits.lock().unwrap_or_else(PoisonError::into_inner);
        let revision = Some(commits.get(&repository.key())?.clone());
        let pinned = Repository {
            revision,
            ..repository
        };
        Some(Location(Kind::Hub(pinned)).to_string())
    }

    /// What is kept on this machine: each file, and each repository of the hub's cache as a whole.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn cached(&self) -> Result<Vec<Cached>, LocationError> {
        let mut items = Vec::new();
        for path in own_files(&self.shared.cache)? {
            items.push(Cached {
                bytes: bytes_below(&path)?,
                path,
            });
        }
        for path in entries(&self.hub.cache)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("datasets--") || name.starts_with("models--") {
                let blobs = path.join("blobs");
                items.push(Cached {
                    bytes: bytes_below(&blobs)?,
                    path,
                });
            }
        }
        items.retain(|item| item.bytes > 0);
        Ok(items)
    }

    /// Removes the files that aren't from the hub, whose cache belongs to other programs too. Returns their bytes. Those
    /// that are being fetched stay, and so do the locks, which others may wait for.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn clear(&self) -> Result<u64, LocationError> {
        let mut bytes = 0;
        for path in own_files(&self.shared.cache)? {
            let name = path.to_string_lossy();
            let blob = PathBuf::from(name.strip_suffix(INCOMPLETE).unwrap_or(&name));
            // Without a lock nobody writes it.
            let lock = OpenOptions::new().append(true).open(beside(&blob, LOCK));
            let lock = lock.ok();
            let held = lock.as_ref().map(File::try_lock);
            if matches!(held, Some(Err(TryLockError::WouldBlock))) {
                continue;
            }
            let size = bytes_below(&path)?;
            match fs::remove_file(&path) {
                Ok(()) => bytes += size,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(LocationError::disk("remove", &path, &e)),
            }
        }
        Ok(bytes)
    }

    /// What went over the network since the start.
    pub fn traffic(&self) -> &Traffic {
        self.shared.client.traffic()
    }
}

/// Something that is kept on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// The file, or the folder of a repository.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// The blobs in a folder, whole or not, without their locks and without what others have put there.
fn own_files(folder: &Path) -> Result<Vec<PathBuf>, LocationError> {
    let own = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        is_blob(&name) && !name.ends_with(LOCK) && !path.is_dir()
    };
    Ok(entries(folder)?.into_iter().filter(own).collect())
}

/// What lies in a folder, in order; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, LocationError> {
    let fault = |e: io::Error| LocationError::disk("list", folder, &e);
    let listed = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(fault)?,
    };
    let mut found = listed
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(fault)?;
    found.sort();
    Ok(found)
}

/// The bytes of a file, or of the files of a folder.
fn bytes_below(path: &Path) -> Result<u64, LocationError> {
    if path.is_dir() {
        return entries(path)?.iter().map(|path| bytes_below(path)).sum();
    }
    Ok(fs::symlink_metadata(path).map_or(0, |meta| meta.len()))
}
