//! Where a run came from.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::branch::Branch;
use crate::clock;
use crate::config::Origins;

/// Where a run came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this program.
    pub version: String,
    /// When the run was started, in UTC, to the nanosecond.
    pub started: String,
    /// Operating system and processor.
    pub platform: String,
    /// Cores the process may use.
    pub cores: usize,
    /// Ranks that it was started with; it may go on with others.
    #[serde(default = "one")]
    pub ranks: usize,
    /// The command line.
    pub command: Vec<String>,
    /// Where each key that was set got its value from.
    pub keys: Origins,
    /// The checkpoint of another run that this one goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branched_from: Option<PathBuf>,
}

/// What records from before there were ranks were made by.
fn one() -> usize {
    1
}

impl Provenance {
    pub(crate) fn now(origins: &Origins, ranks: usize, branch: Option<&Branch>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: clock::moment(SystemTime::now()),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            ranks,
            command: std::env::args_os()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect(),
            keys: origins.clone(),
            branched_from: branch.map(|branch| branch.checkpoint.clone()),
        }
    }
}
