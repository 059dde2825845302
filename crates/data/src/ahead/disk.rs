//! The disk's part of a stream: fetched files and tokenized windows under a budget.
//!
//! ```text
//! stream-ID/
//!   lock              held by the one process that uses the folder; another takes the next, stream-ID-2
//!   fetched.jsonl     a line for each file that was fetched, written before its download begins
//!   00012-0003.tokens a window's tokens
//!   00012-0003.json   the note that vouches for them, written after
//! ```
//!
//! It only saves time: what is missing or damaged is made again, and a stream works without any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::access::plainly;
use super::folders::PREFIX;
use super::kept::KeptWindows;
use super::shelf::{Item, Need, Shelf};
use crate::layout::PlacedSource;
use crate::source::Source;
use crate::window::{MemoryText, Window};
use crate::{DataError, Tokenizer, files};

const LEDGER: &str = "fetched.jsonl";

/// A folder of fetched files' names and of windows.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    _lock: File,
    windows: KeptWindows,
    /// The files that may be fetched, by location.
    sources: BTreeMap<PathBuf, Arc<dyn Source>>,
    state: Mutex<State>,
    fetched: Condvar,
}

#[derive(Debug)]
struct State {
    shelf: Shelf,
    /// Files that a thread fetches at the moment.
    fetching: BTreeSet<PathBuf>,
    /// The window that is trained on.
    in_use: Option<Item>,
    /// Whether windows are written; not any more once the disk has refused one.
    writes: bool,
    news: Vec<String>,
}

/// A fetched file in the ledger.
#[derive(Debug, Serialize, Deserialize)]
struct Fetched {
    location: PathBuf,
    bytes: u64,
}

/// What fetches a source.
pub(super) type Fetch<'f> = dyn Fn(&Arc<dyn Source>) -> Result<(), DataError> + 'f;

impl Disk {
    /// Opens the folder of a listing, or one beside it where another process works in that one.
    ///
    /// # Errors
    /// The folder can't be made or locked.
    pub(crate) fn open<'a>(
        cache: &Path,
        id: &str,
        budget: u64,
        sources: impl Iterator<Item = &'a PlacedSource>,
    ) -> Result<Self, DataError> {
        let (folder, lock) = free_folder(cache, id)?;
        let sources = sources.map(|placed| {
            let source = Arc::clone(&placed.source);
            (source.location().to_path_buf(), source)
        });
        let disk = Self {
            windows: KeptWindows::new(&folder),
            folder,
            _lock: lock,
            sources: sources.collect(),
            state: Mutex::new(State {
                shelf: Shelf::new(budget),
                fetching: BTreeSet::new(),
                in_use: None,
                writes: true,
                news: Vec::new(),
            }),
            fetched: Condvar::new(),
        };
        {
            let mut state = disk.state();
            disk.count_files(&mut state.shelf);
            disk.windows.tidy();
            for (shard, window, bytes, is_last) in disk.windows.list() {
                let item = Item::Window { shard, window };
                state.shelf.put(item.clone(), bytes, is_last);
                state.shelf.let_go(&item, false);
            }
            disk.make_room(&mut state.shelf, 0, Need::Now);
        }
        Ok(disk)
    }

    /// What was fetched by processes of before.
    fn count_files(&self, shelf: &mut Shelf) {
        let path = self.folder.join(LEDGER);
        let ledger = fs::read_to_string(&path).unwrap_or_default();
        let mut kept = String::new();
        // A kill may have cut the last line; its download hasn't begun then.
        for line in ledger.lines() {
            let Ok(fetched) = serde_json::from_str::<Fetched>(line) else {
                continue;
            };
            let item = Item::File(fetched.location.clone());
            if self.sources.contains_key(&fetched.location) && shelf.get(&item).is_none() {
                shelf.put(item.clone(), fetched.bytes, false);
                shelf.let_go(&item, false);
                kept = kept + line + "\n";
            }
        }
        // The old one says the same.
        let _ = evenburn_files::replace(&path, kept.as_bytes());
    }

    /// A window of a shard, where it is there as it was written and `made_of` the same.
    pub(crate) fn window(
        &self,
        shard: usize,
        window: usize,
        made_of: Option<&str>,
        tokenizer: &Tokenizer,
    ) -> Option<Window> {
        let item = Item::Window { shard, window };
        if !self.state().shelf.hold(&item) {
            return None;
        }
        let found = self.windows.read(shard, window, made_of, tokenizer);
        let mut state = self.state();
        state.shelf.let_go(&item, false);
        if found.is_none() {
            state.shelf.remove(&item);
            self.discard(&mut state.shelf, &item);
        }
        found
    }

    /// Writes a window, where there is room for it.
    pub(crate) fn keep_window(
        &self,
        shard: usize,
        window: usize,
        made_of: &str,
        text: &MemoryText,
        is_last: bool,
    ) {
        let item = Item::Window { shard, window };
        let bytes = text.stored_bytes();
        {
            let mut state = self.state();
            if !state.writes || !self.make_room(&mut state.shelf, bytes, Need::Later) {
                return;
            }
            state.shelf.put(item.clone(), bytes, is_last);
        }
        let written = self.windows.write(shard, window, made_of, text, is_last);
        let mut state = self.state();
        state.shelf.let_go(&item, false);
        if let Err(error) = written {
            state.shelf.remove(&item);
            self.discard(&mut state.shelf, &item);
            state.writes = false;
            let folder = self.folder.display();
            state.news.push(format!(
                "tokenized text can't be kept in {folder} ({error}): it is held in memory alone from here on"
            ));
        }
    }

    /// The window that is trained on now: nothing that is only needed later takes its place.
    pub(crate) fn use_window(&self, shard: usize, window: usize) {
        let mut state = self.state();
        let item = Item::Window { shard, window };
        if let Some(before) = state.in_use.replace(item.clone()) {
            state.shelf.expect(&before, false);
        }
        state.shelf.expect(&item, true);
    }

    /// Whether a shard's windows from one on are there up to its last, so that its files aren't needed.
    pub(crate) fn has_windows(&self, shard: usize, from: usize) -> bool {
        self.state().shelf.has_windows(shard, from)
    }

    /// Fetches a file that will be needed, where there is room for it; whether it is here now.
    pub(crate) fn fetch_ahead(&self, source: &Arc<dyn Source>) -> bool {
        let brought = self.bring(source, Need::Later, &plainly);
        matches!(brought, Ok(Brought::Counted(_) | Brought::Nothing))
    }

    /// Sees to it that a file is here, counted if it had to be fetched; and held, if it is needed now.
    pub(super) fn bring(
        &self,
        source: &Arc<dyn Source>,
        need: Need,
        fetch: &Fetch<'_>,
    ) -> Result<Brought, DataError> {
        if source.is_ranged() {
            return Ok(Brought::Nothing);
        }
        let location = source.location().to_path_buf();
        let item = Item::File(location.clone());
        let mut state = self.state();
        loop {
            let is_fetched = state.fetching.contains(&location);
            if is_fetched && need == Need::Later {
                return Ok(Brought::Nothing);
            }
            if !is_fetched {
                if state.shelf.hold(&item) {
                    break;
                }
                // A file that was here before anybody fetched it belongs to others.
                if source.is_here() {
                    return Ok(Brought::Nothing);
                }
                if self.make_room(&mut state.shelf, source.size(), need) {
                    self.write_down(&location, source.size())?;
                    state.shelf.put(item.clone(), source.size(), false);
                    break;
                }
                // What another thread fetches at the moment can go afterwards.
                if need == Need::Later || state.fetching.is_empty() {
                    return Ok(Brought::NoRoom);
                }
            }
            let waited = self.fetched.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if source.is_here() {
            if need == Need::Later {
                state.shelf.let_go(&item, true);
            }
            return Ok(Brought::Counted(item));
        }
        state.fetching.insert(location.clone());
        drop(state);
        let mut result = fetch(source);
        if result.as_ref().is_err_and(is_full_disk) {
            let mut state = self.state();
            for item in state.shelf.clear() {
                self.discard(&mut state.shelf, &item);
            }
            drop(state);
            result = fetch(source);
        }
        let mut state = self.state();
        state.fetching.remove(&location);
        if need == Need::Later || result.is_err() {
            state.shelf.let_go(&item, result.is_ok());
        }
        self.fetched.notify_all();
        result.map(|()| Brought::Counted(item))
    }

    /// Lets a file go that was held.
    pub(super) fn let_go(&self, item: &Item) {
        self.state().shelf.let_go(item, false);
    }

    /// Makes room for so many bytes; whether there is.
    fn make_room(&self, shelf: &mut Shelf, bytes: u64, need: Need) -> bool {
        let Some(going) = shelf.room_for(bytes, need) else {
            return false;
        };
        // What can't be removed is counted again.
        let mut is_free = true;
        for item in &going {
            is_free &= self.discard(shelf, item);
        }
        is_free
    }

    /// Removes what isn't counted any more from the disk; what can't be removed is counted again.
    fn discard(&self, shelf: &mut Shelf, item: &Item) -> bool {
        let removed = match item {
            Item::File(location) => match self.sources.get(location) {
                Some(source) => source.release().map(|_| ()),
                None => Ok(()),
            },
            Item::Window { shard, window } => self.windows.remove(*shard, *window),
        };
        if removed.is_ok() {
            return true;
        }
        let bytes = match item {
            Item::File(location) => self.sources.get(location).map_or(0, |s| s.size()),
            Item::Window { shard, window } => self.windows.bytes(*shard, *window),
        };
        shelf.put(item.clone(), bytes, false);
        shelf.let_go(item, false);
        false
    }

    fn write_down(&self, location: &Path, bytes: u64) -> Result<(), DataError> {
        let path = self.folder.join(LEDGER);
        let write = || {
            let fetched = Fetched {
                location: location.to_path_buf(),
                bytes,
            };
            let line = serde_json::to_string(&fetched)? + "\n";
            let mut ledger = OpenOptions::new().create(true).append(true).open(&path)?;
            ledger.write_all(line.as_bytes())?;
            ledger.sync_data()
        };
        write().map_err(|e| DataError::io("write", &path, e))
    }

    /// Bytes of the files and windows that are there.
    pub(crate) fn used(&self) -> u64 {
        self.state().shelf.used()
    }

    /// Where everything is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps something that the user should know.
    pub(crate) fn tell(&self, news: String) {
        self.state().news.push(news);
    }

    /// What the user should know, each once.
    pub(crate) fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.state().news)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of bringing a file.
#[derive(Debug)]
pub(super) enum Brought {
    /// It is here and counted.
    Counted(Item),
    /// It needs no place: it was here, is read where it lies, or is being fetched.
    Nothing,
    /// There is no room for it.
    NoRoom,
}

/// The folder of a listing that no other process uses.
fn free_folder(cache: &Path, id: &str) -> Result<(PathBuf, File), DataError> {
    let mut number = 1;
    loop {
        let folder = match number {
            1 => cache.join(format!("{PREFIX}{id}")),
            _ => cache.join(format!("{PREFIX}{id}-{number}")),
        };
        files::create_folder(&folder)?;
        if let Some(lock) = files::try_lock(&folder)? {
            return Ok((folder, lock));
        }
        number += 1;
    }
}

fn is_full_disk(error: &DataError) -> bool {
    match error {
        DataError::Location(error) => error.is_full_disk(),
        DataError::Io { source, .. } => source.kind() == io::ErrorKind::StorageFull,
        _ => false,
    }
}
