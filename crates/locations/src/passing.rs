//! Files of which nothing tells whether they are still the same: each storage keeps its own, as long as it lives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The files that one storage has fetched and no other may take for the same. They go with it; those of a process that was
/// killed stay until `data cache clear`.
#[derive(Debug)]
pub(crate) struct Passing {
    mark: String,
    files: Mutex<Vec<PathBuf>>,
}

impl Passing {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Numbers of processes come again.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        Self {
            mark: format!("{} {number} {now}", process::id()),
            files: Mutex::default(),
        }
    }

    /// What no other storage has.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Has a file removed in the end.
    pub(crate) fn keep(&self, path: &Path) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.push(path.to_path_buf());
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let files = self.files.get_mut().unwrap_or_else(PoisonError::into_inner);
        for path in files {
            // One that stays is removed by `data cache clear`.
            let _ = fs::remove_file(path);
        }
    }
}
