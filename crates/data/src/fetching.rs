//! Brings files that lie elsewhere onto this machine, and tells how far it is.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use evenburn_locations::Storage;

use crate::source::Source;
use crate::{DataError, Phase, Progress, ProgressState};

/// Files fetched at once: one connection seldom fills a line, and hubs count requests.
pub(crate) const FILES_AT_ONCE: usize = 4;

/// How often it is told how far it is.
const TOLD: Duration = Duration::from_millis(200);

/// Brings sources onto this machine, where they are to be read as a whole and aren't here yet.
///
/// # Errors
/// What a place answers; [`DataError::Interrupted`] where `progress` asks to stop, and what is fetched stays.
pub fn fetch(
    sources: &[Arc<dyn Source>],
    storage: &Storage,
    progress: &dyn Progress,
) -> Result<(), DataError> {
    let missing = sources.iter().filter(|it| !it.is_here() && !it.is_ranged());
    let missing: Arc<[Arc<dyn Source>]> = missing.cloned().collect();
    let mut state = ProgressState {
        phase: Phase::Fetching,
        source: String::new(),
        bytes_done: 0,
        bytes_total: missing.iter().map(|source| source.size()).sum(),
        documents: 0,
        tokens: 0,
    };
    let before = storage.traffic().bytes();
    let next = Arc::new(AtomicUsize::new(0));
    let (done, results) = channel();
    for _ in 0..FILES_AT_ONCE.min(missing.len()) {
        let (missing, next, done) = (Arc::clone(&missing), Arc::clone(&next), done.clone());
        // Whoever is interrupted doesn't wait for the end of a file.
        thread::spawn(move || {
            while let Some(source) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                let fetched = source.fetch();
                let fetched = fetched.map_err(|e| DataError::io("fetch", source.location(), e));
                if done.send((source.name().to_owned(), fetched)).is_err() {
                    return;
                }
            }
        });
    }
    drop(done);
    let last = missing.len();
    loop {
        match results.recv_timeout(TOLD) {
            Ok((name, Ok(()))) => state.source = name,
            Ok((_, Err(error))) => {
                next.store(last, Ordering::Relaxed);
                return Err(error);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let came = storage.traffic().bytes() - before;
        state.bytes_done = came.min(state.bytes_total);
        if progress.report(&state) == ControlFlow::Break(()) {
            next.store(last, Ordering::Relaxed);
            return Err(DataError::Interrupted);
        }
    }
}
