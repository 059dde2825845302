//! Windows in a folder, each a file of tokens and a note that vouches for them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Tokenizer;
use crate::window::{MemoryText, PackedText as _, Window};
use crate::xxh3::{self, Xxh3};

/// The endings of a window's files.
const TOKENS: &str = "tokens";
const NOTE: &str = "json";

/// What vouches for the tokens of a window.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// What they were made of.
    made_of: String,
    tokens: u64,
    bytes: u64,
    xxh3: String,
    is_last: bool,
}

/// The windows of a folder. What is missing or damaged is not there.
#[derive(Debug)]
pub(crate) struct KeptWindows {
    folder: PathBuf,
}

impl KeptWindows {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
        }
    }

    /// What is there: shard, window, bytes, and whether it is the last of its shard.
    pub(crate) fn list(&self) -> Vec<(usize, usize, u64, bool)> {
        let mut found = Vec::new();
        for (_, (shard, window), ending) in self.files() {
            if ending == NOTE
                && let Some(note) = read_note(&self.path(shard, window, NOTE))
            {
                found.push((shard, window, note.bytes, note.is_last));
            }
        }
        found
    }

    /// Removes what no note vouches for, once nobody writes here.
    pub(crate) fn tidy(&self) {
        for (path, (shard, window), ending) in self.files() {
            let is_whole = ending == NOTE || ending == TOKENS;
            if !is_whole || read_note(&self.path(shard, window, NOTE)).is_none() {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The files of windows, half-written ones too, with the end of their names.
    fn files(&self) -> Vec<(PathBuf, (usize, usize), String)> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths
            .filter_map(|path| {
                let name = path.file_name()?.to_string_lossy().into_owned();
                let (stem, ending) = name.split_once('.')?;
                Some((path, numbers(stem)?, ending.to_owned()))
            })
            .collect()
    }

    /// A window that was made of this, by its tokenizer.
    pub(crate) fn read(
        &self,
        shard: usize,
        window: usize,
        made_of: Option<&str>,
        tokenizer: &Tokenizer,
    ) -> Option<Window> {
        let note = read_note(&self.path(shard, window, NOTE))?;
        if Some(&*note.made_of) != made_of {
            return None;
        }
        let stored = fs::read(self.path(shard, window, TOKENS)).ok()?;
        if stored.len() as u64 != note.bytes || xxh3::of_bytes(&stored) != note.xxh3 {
            return None;
        }
        Some(Window {
            text: Arc::new(MemoryText::from_stored(stored, note.tokens, tokenizer)?),
            is_last: note.is_last,
        })
    }

    /// Writes a window, then its note. Neither is synced: a power cut may lose both, and a hash tells.
    pub(crate) fn write(
        &self,
        shard: usize,
        window: usize,
        made_of: &str,
        text: &MemoryText,
        is_last: bool,
    ) -> io::Result<()> {
        let path = self.path(shard, window, TOKENS);
        let aside = evenburn_files::aside(&path);
        let written = Hashed::create(&aside).and_then(|mut out| {
            text.store(&mut out)?;
            out.finish()
        });
        let xxh3 = written.inspect_err(|_| {
            let _ = fs::remove_file(&aside);
        })?;
        fs::rename(&aside, &path)?;
        let note = Note {
            made_of: made_of.to_owned(),
            tokens: text.tokens(),
            bytes: text.stored_bytes(),
            xxh3,
            is_last,
        };
        let path = self.path(shard, window, NOTE);
        let aside = evenburn_files::aside(&path);
        fs::write(&aside, serde_json::to_vec(&note)?)?;
        fs::rename(&aside, &path)
    }

    /// Removes a window, its note first.
    pub(crate) fn remove(&self, shard: usize, window: usize) -> io::Result<()> {
        for ending in [NOTE, TOKENS] {
            match fs::remove_file(self.path(shard, window, ending)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of a window's tokens on the disk.
    pub(crate) fn bytes(&self, shard: usize, window: usize) -> u64 {
        let file = fs::metadata(self.path(shard, window, TOKENS));
        file.map_or(0, |meta| meta.len())
    }

    fn path(&self, shard: usize, window: usize, ending: &str) -> PathBuf {
        self.folder.join(format!("{shard:05}-{window:04}.{ending}"))
    }
}

/// The shard and the window that a file's name says.
fn numbers(stem: &str) -> Option<(usize, usize)> {
    let (shard, window) = stem.split_once('-')?;
    Some((shard.parse().ok()?, window.parse().ok()?))
}

fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// A file that is hashed as it is written.
struct Hashed {
    out: BufWriter<File>,
    hash: Xxh3,
}

impl Hashed {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            out: BufWriter::with_capacity(1 << 18, File::create(path)?),
            hash: Xxh3::new(),
        })
    }

    /// Completes the file; its hash.
    fn finish(mut self) -> io::Result<String> {
        self.out.flush()?;
        Ok(self.hash.finish())
    }
}

impl Write for Hashed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.hash.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
