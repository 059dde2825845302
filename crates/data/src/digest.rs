//! Content hashes of sources, remembered between runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use evenburn_files::Sha256;
use evenburn_locations::ContentId;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::layout::PlacedSource;
use crate::source::Source;
use crate::{DataError, Phase, Progress, ProgressState, files};

/// The memory's file name in the cache folder.
const MEMORY: &str = "source-hashes.json";

#[derive(Serialize, Deserialize)]
struct Known {
    size: u64,
    stamp: String,
    sha256: String,
}

/// What tells the contents of every source from others, in their order: its SHA-256 (the hash a hub lists for its large
/// files), or what its listing says instead.
///
/// Contents identify a source: a copied or touched file keeps its cached tokens, an edited one
/// doesn't. A source whose location, size and stamp are unchanged isn't read again; one without a stamp always is. One whose
/// listing tells its contents isn't read at all.
pub(crate) fn digests(
    sources: &[PlacedSource],
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Vec<String>, DataError> {
    let path = cache.join(MEMORY);
    let recall = |memory: &Memory| -> Option<Vec<String>> {
        let known = |source: &dyn Source| listed(source).or_else(|| memory.recall(source));
        sources.iter().map(|s| known(&*s.source)).collect()
    };
    if let Some(digests) = recall(&Memory::read(&path)) {
        return Ok(digests);
    }
    let _lock = files::lock(cache)?;
    let mut memory = Memory::read(&path);
    let work = Work {
        done: AtomicU64::new(0),
        total: sources.iter().map(|s| s.source.size()).sum(),
        progress,
    };
    let digests: Vec<String> = sources
        .par_iter()
        .map(|placed| {
            let source = &*placed.source;
            match listed(source).or_else(|| memory.recall(source)) {
                Some(known) => {
                    work.done.fetch_add(source.size(), Ordering::Relaxed);
                    Ok(known)
                }
                None => work.hash(source),
            }
        })
        .collect::<Result<_, DataError>>()?;
    let hashed = sources.iter().zip(&digests);
    for (placed, sha256) in hashed.filter(|(placed, _)| listed(&*placed.source).is_none()) {
        memory.learn(&*placed.source, sha256);
    }
    if let Ok(json) = serde_json::to_vec_pretty(&memory) {
        evenburn_files::replace(&path, &json)?;
    }
    Ok(digests)
}

/// What a listing tells of contents, if nobody needs to read them. A tag is a server's own, and a weak one means equal text
/// and not equal bytes.
fn listed(source: &dyn Source) -> Option<String> {
    match source.id() {
        ContentId::Sha256(digest) => Some(digest.clone()),
        ContentId::GitSha1(digest) => Some(format!("git:{digest}")),
        ContentId::Etag(tag) if !tag.starts_with("W/") => {
            let place = source.location().to_string_lossy();
            let digest = evenburn_files::sha256(format!("{place}\n{tag}").as_bytes());
            Some(format!("etag:{digest}"))
        }
        _ => None,
    }
}

/// Hashes by location.
#[derive(Default, Serialize, Deserialize)]
struct Memory(BTreeMap<String, Known>);

impl Memory {
    /// It only saves time: an unreadable one counts as empty.
    fn read(path: &Path) -> Self {
        let json = fs::read(path).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }

    fn recall(&self, source: &dyn Source) -> Option<String> {
        let known = self.0.get(&key_of(source))?;
        let same = known.size == source.size() && known.stamp == source.stamp()?;
        same.then(|| known.sha256.clone())
    }

    fn learn(&mut self, source: &dyn Source, sha256: &str) {
        // One that changed while it was hashed is hashed again.
        let stamp = source
            .stamp()
            .filter(|_| source.is_unchanged().unwrap_or(false));
        if let Some(stamp) = stamp {
            let known = Known {
                size: source.size(),
                stamp,
                sha256: sha256.into(),
            };
            self.0.insert(key_of(source), known);
        }
    }
}

fn key_of(source: &dyn Source) -> String {
    let location = source.location();
    let absolute = fs::canonicalize(location).unwrap_or_else(|_| location.to_path_buf());
    absolute.to_string_lossy().into_owned()
}

struct Work<'a> {
    done: AtomicU64,
    total: u64,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    fn hash(&self, source: &dyn Source) -> Result<String, DataError> {
        let fault = |e| DataError::io("read", source.location(), e);
        let mut reader = source.open().map_err(fault)?;
        let mut hash = Sha256::default();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = reader.read(&mut buffer).map_err(fault)?;
            if read == 0 {
                return Ok(hash.finish());
            }
            hash.update(&buffer[..read]);
            let read = read as u64;
            let state = ProgressState {
                phase: Phase::Hashing,
                source: source.name().to_owned(),
                bytes_done: self.done.fetch_add(read, Ordering::Relaxed) + read,
                bytes_total: self.total,
                documents: 0,
                tokens: 0,
            };
            if self.progress.report(&state) == ControlFlow::Break(()) {
                return Err(DataError::Interrupted);
            }
        }
    }
}
