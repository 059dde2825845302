//! The directory of a run: made whole, locked while in use.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Provenance, Resolved, RunConfig};
use crate::error::TrainError;
use crate::{clock, durable};

pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const PLAN: &str = "plan.toml";
const PROVENANCE: &str = "provenance.json";
/// The tokenizer the run was trained with, so that a run can be read without its data.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
const LOCK: &str = "lock";
/// What a folder with a model and no training says of itself.
pub(crate) const FROZEN: &str = "frozen.json";
/// The folder of the checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// Run directories under construction start with this.
const ASIDE: &str = ".new-";
/// Far more time than making a run directory takes.
const MAKING: Duration = Duration::from_mins(1);

/// Where a run came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this program.
    pub version: String,
    /// When the run was started, in UTC.
    pub started: String,
    /// Operating system and processor.
    pub platform: String,
    /// Cores the process may use.
    pub cores: usize,
    /// The command line.
    pub command: Vec<String>,
    /// Where each key that was set got its value from.
    pub keys: Provenance,
}

impl Record {
    fn now(origins: &Provenance) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: clock::stamp(),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            command: std::env::args_os()
                .map(|arg| arg.to_string_lossy().into_owned())
                .collect(),
            keys: origins.clone(),
        }
    }
}

/// A run directory this process holds the lock of.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Held until the run is done; the operating system releases it with the process, however that ends.
    _lock: File,
}

impl RunDir {
    /// Makes a run directory: `at`, or `<run.dir>/<utc>-<run.name>`. It appears under its name complete.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] if there already is a run or something else, [`TrainError::Io`] if it can't be written.
    pub fn create(
        at: Option<&Path>,
        resolved: &Resolved,
        plan: &str,
        tokenizer: &str,
    ) -> Result<Self, TrainError> {
        let config = &resolved.config;
        let path = match at {
            Some(path) => path.to_owned(),
            None => free_name(&config.run.dir, &config.run.name),
        };
        let parent = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|e| TrainError::io("create", parent, e))?;
        remove_unfinished(parent)?;
        if is_occupied(&path) {
            let why = format!(
                "{} already exists; resume it, or name another",
                path.display()
            );
            return Err(TrainError::invalid("run directory", why));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = parent.join(format!("{ASIDE}{name}-{}", std::process::id()));
        fs::create_dir(&aside).map_err(|e| TrainError::io("create", &aside, e))?;
        let lock = lock(&aside)?;
        let record = Record::now(&resolved.origins);
        let json = serde_json::to_vec_pretty(&record).map_err(|e| TrainError::Unwritable {
            what: "the provenance",
            why: e.to_string(),
        })?;
        durable::write(&aside.join(CONFIG), config.to_toml()?.as_bytes())?;
        durable::write(&aside.join(PLAN), plan.as_bytes())?;
        durable::write(&aside.join(PROVENANCE), &json)?;
        durable::write(&aside.join(TOKENIZER), tokenizer.as_bytes())?;
        for folder in [CHECKPOINTS, "samples", "tb"] {
            let folder = aside.join(folder);
            fs::create_dir(&folder).map_err(|e| TrainError::io("create", &folder, e))?;
        }
        durable::sync_folder(&aside)?;
        durable::rename(&aside, &path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Opens a run directory to continue it.
    ///
    /// # Errors
    /// [`TrainError::NotARun`] if it isn't one, [`TrainError::Locked`] if another process works in it.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        require_run(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock(path)?,
        })
    }

    /// Replaces the recorded configuration by one that the run goes on with.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it can't be written.
    pub(crate) fn record(&self, config: &RunConfig) -> Result<(), TrainError> {
        let mut config = config.clone();
        config.train.reset_optimizer = false;
        durable::replace(&config_of(&self.path), config.to_toml()?.as_bytes())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// The folder of the TensorBoard events.
    pub fn events(&self) -> PathBuf {
        self.path.join("tb")
    }

    /// The folder of the generated text.
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// The log of the program.
    pub fn log(&self) -> PathBuf {
        self.path.join("run.log")
    }

    /// The plan the run was started with, as TOML.
    ///
    /// # Errors
    /// [`TrainError::Io`] if it can't be read.
    pub fn plan(&self) -> Result<String, TrainError> {
        plan_of(&self.path)
    }
}

/// Path of the configuration of a run.
pub(crate) fn config_of(run: &Path) -> PathBuf {
    run.join(CONFIG)
}

/// The recorded plan of a run, as TOML.
pub(crate) fn plan_of(run: &Path) -> Result<String, TrainError> {
    let path = run.join(PLAN);
    fs::read_to_string(&path).map_err(|e| TrainError::io("read", &path, e))
}

/// Whether a folder holds a run.
pub(crate) fn is_run(path: &Path) -> bool {
    config_of(path).is_file()
}

/// Whether a folder holds a run that can go on.
fn is_live(path: &Path) -> bool {
    is_run(path) && !path.join(FROZEN).is_file()
}

pub(crate) fn require_run(path: &Path) -> Result<(), TrainError> {
    if is_run(path) {
        return Ok(());
    }
    Err(TrainError::NotARun {
        path: path.to_owned(),
        missing: CONFIG,
    })
}

/// The newest run in a folder of runs that can go on; their names start with the time they were started.
pub(crate) fn newest(dir: &Path) -> Result<Option<PathBuf>, TrainError> {
    let names = durable::entries(dir, |name| !name.starts_with('.'))?;
    Ok(names
        .into_iter()
        .rev()
        .map(|name| dir.join(name))
        .find(|path| is_live(path)))
}

pub(crate) fn free_name(dir: &Path, name: &str) -> PathBuf {
    let first = format!("{}-{name}", clock::stamp());
    let mut candidates =
        std::iter::once(first.clone()).chain((2..).map(|n| format!("{first}-{n}")));
    let free = candidates.find(|name| !dir.join(name).exists());
    dir.join(free.unwrap_or(first))
}

/// Whether something is at a path that a rename would destroy or fail on.
pub(crate) fn is_occupied(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    }
}

/// Removes what killed processes left under construction. What a living one works on is locked, or so young that its
/// process may be about to lock it.
fn remove_unfinished(dir: &Path) -> Result<(), TrainError> {
    for name in durable::entries(dir, |name| name.starts_with(ASIDE))? {
        let path = dir.join(name);
        let age = fs::metadata(&path)
            .and_then(|m| m.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > MAKING)
            && let Ok(_held) = lock(&path)
        {
            fs::remove_dir_all(&path).map_err(|e| TrainError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, TrainError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| TrainError::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrainError::Locked {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(TrainError::io("lock", &path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_is_making_any_more_is_removed() {
        let runs = tempfile::tempdir().unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * MAKING;
        let make = |name: &str| {
            let path = runs.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (young, old, held) = (
            make(".new-young-1"),
            make(".new-old-2"),
            make(".new-held-3"),
        );
        let _lock = lock(&held).unwrap();
        for path in [&old, &held] {
            File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        remove_unfinished(runs.path()).unwrap();
        assert_eq!(
            [young.exists(), old.exists(), held.exists()],
            [true, false, true]
        );
        assert_eq!(newest(runs.path()).unwrap(), None);
    }
}
