//! The one entrance: places by their locations, and what all of them share.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::clock::{Clock, SystemClock};
use crate::environment::{Environment, HubSettings, silence};
use crate::file::{Listing, Place};
use crate::http::{Client, Traffic};
use crate::hub::HubPlace;
use crate::local::LocalPlace;
use crate::location::{Kind, ObjectStore};
use crate::ranges::Blocks;
use crate::web::WebPlace;
use crate::{Location, LocationError, azure, s3};

/// What all places share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) blocks: Blocks,
    /// Blobs that this process has checked.
    pub(crate) verified: Mutex<HashSet<PathBuf>>,
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
    /// `HF_ENDPOINT` is no address.
    pub fn new(settings: Settings) -> Result<Self, LocationError> {
        let environment = settings.environment;
        let hub = HubSettings::new(&environment)?;
        let shared = Shared {
            client: Client::new(silence(&environment), Arc::clone(&settings.clock)),
            clock: settings.clock,
            blocks: Blocks::default(),
            verified: Mutex::default(),
            commits: Mutex::default(),
            whole_up_to: settings.whole_up_to,
            block: settings.block.max(1),
            cache: settings.cache.join("files"),
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

    /// What went over the network since the start.
    pub fn traffic(&self) -> &Traffic {
        self.shared.client.traffic()
    }
}
