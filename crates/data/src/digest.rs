//! Content hashes of sources, remembered between runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::layout::PlacedSource;
use crate::source::Source;
use crate::{DataError, Phase, Progress, ProgressState, files};

/// The memory's file name in the cache folder.
const MEMORY: &str = "source-hashes.json";

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    size: u64,
    stamp: String,
    sha256: String,
}

/// The SHA-256 of every source (the hash a hub lists for its large files), in their order.
///
/// Contents identify a source: a copied or touched file keeps its cached tokens, an edited one
/// doesn't. A source whose location, size and stamp are unchanged isn't read again.
pub(crate) fn digests(
    sources: &[PlacedSource],
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Vec<String>, DataError> {
    let path = cache.join(MEMORY);
    // It only saves time: an unreadable one counts as empty.
    let known: BTreeMap<String, Known> = fs::read(&path)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_default();
    let done = AtomicU64::new(0);
    let total = sources.iter().map(|s| s.source.size()).sum();
    let learned = Mutex::new(BTreeMap::new());
    let digests: Vec<String> = sources
        .par_iter()
        .map(|placed| {
            let source = &*placed.source;
            let key = key_of(source);
            let (size, stamp) = (source.size(), source.stamp());
            if let Some(entry) = known.get(&key)
                && (entry.size, &entry.stamp) == (size, &stamp)
            {
                done.fetch_add(size, Ordering::Relaxed);
                return Ok(entry.sha256.clone());
            }
            let sha256 = hash(source, |read| {
                let state = ProgressState {
                    phase: Phase::Hashing,
                    source: source.name().to_owned(),
                    bytes_done: done.fetch_add(read, Ordering::Relaxed) + read,
                    bytes_total: total,
                    documents: 0,
                    tokens: 0,
                };
                match progress.report(&state) {
                    std::ops::ControlFlow::Continue(()) => Ok(()),
                    std::ops::ControlFlow::Break(()) => Err(DataError::Interrupted),
                }
            })?;
            let entry = Known {
                size,
                stamp,
                sha256: sha256.clone(),
            };
            if let Ok(mut learned) = learned.lock() {
                learned.insert(key, entry);
            }
            Ok(sha256)
        })
        .collect::<Result<_, DataError>>()?;
    let learned = learned.into_inner().unwrap_or_default();
    if !learned.is_empty() {
        let mut all = known;
        all.extend(learned);
        if let Ok(json) = serde_json::to_vec_pretty(&all) {
            files::write_atomically(&path, &json)?;
        }
    }
    Ok(digests)
}

fn key_of(source: &dyn Source) -> String {
    let location = source.location();
    let absolute = fs::canonicalize(location).unwrap_or_else(|_| location.to_path_buf());
    absolute.to_string_lossy().into_owned()
}

fn hash(
    source: &dyn Source,
    mut report: impl FnMut(u64) -> Result<(), DataError>,
) -> Result<String, DataError> {
    let fault = |e| DataError::io("read", source.location(), e);
    let mut reader = source.open().map_err(fault)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer).map_err(fault)? {
            0 => return Ok(files::hex(&hash.finalize())),
            n => {
                hash.update(&buffer[..n]);
                report(n as u64)?;
            }
        }
    }
}
