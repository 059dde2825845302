//! Checkpoints: one directory each, complete or absent.
//!
//! ```text
//! checkpoints/
//!   step-00001000/   model.safetensors  optim.safetensors  state.json  checksums.b3
//!   latest           the name of the newest one
//! ```
//!
//! A checkpoint is written into a hidden folder, every file synced, and renamed into place; `latest` moves after that,
//! and only then are older ones removed. `checksums.b3` has the BLAKE3 of the other files in the format of `b3sum`,
//! so `b3sum --check checksums.b3` verifies a checkpoint without this program.

mod read;
mod tensors;
mod write;

pub use read::Loaded;
pub(crate) use read::{state, verify};

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use evenburn_data::Position;
use evenburn_optim::Counts;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::TrainError;

const MODEL: &str = "model.safetensors";
const OPTIM: &str = "optim.safetensors";
pub(crate) const STATE: &str = "state.json";
const SUMS: &str = "checksums.b3";
pub(crate) const LATEST: &str = "latest";
const PREFIX: &str = "step-";
/// Folders that a kill left behind start with these.
const UNFINISHED: [&str; 2] = [".saving-", ".removing-"];

/// Version of the layout of a checkpoint. The second one's `config` hashes the keys of the scheme too, among them those that
/// this program has given another default since.
pub const FORMAT: u32 = 3;

/// The first version, which is still read, as the second is. Its `config` hashes keys that are free by now, and its `corpus`
/// the names of files.
pub(crate) const FIRST_FORMAT: u32 = 1;

/// Everything a run needs to continue, beside its tensors.
///
/// The schedule and all random draws are functions of the step and the seed, so that these are their whole state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of the layout, [`FORMAT`].
    pub format: u32,
    /// Optimizer steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Next sample of the data stream, or of each source of a mixture.
    pub cursor: Position,
    /// Step counts of the optimizer.
    pub optim: Counts,
    /// Length of `metrics.jsonl` in bytes when the checkpoint was made: the history up to this step.
    pub metrics_bytes: u64,
    /// BLAKE3 of the configuration's keys that decide the numbers and don't have their defaults, those of the scheme aside:
    /// they decide the plan alone.
    pub config: String,
    /// BLAKE3 of the text of the recorded plan.
    pub plan: String,
    /// Identity of the corpus.
    pub corpus: String,
}

/// A named tensor, as it goes into a file.
pub type Named = (String, TensorData);

/// The checkpoints of one run.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    keep: usize,
}

impl Checkpoints {
    /// Opens the folder, removes what a kill left unfinished, and points `latest` at the newest checkpoint.
    ///
    /// # Errors
    /// [`TrainError::Io`] if the folder can't be made, listed or cleaned.
    pub fn open(dir: impl Into<PathBuf>, keep: usize) -> Result<Self, TrainError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(|e| TrainError::io("create", &dir, e))?;
        let unfinished =
            durable::entries(&dir, |name| UNFINISHED.iter().any(|p| name.starts_with(p)))?;
        for name in unfinished {
            let path = dir.join(name);
            fs::remove_dir_all(&path).map_err(|e| TrainError::io("remove", &path, e))?;
        }
        let checkpoints = Self { dir, keep };
        // A kill between the rename and the move of `latest` left a complete checkpoint it doesn't know of.
        if let Some(newest) = checkpoints.names()?.pop() {
            checkpoints.point_at(&newest)?;
        }
        Ok(checkpoints)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run the folder belongs to.
    pub fn run(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    /// The newest checkpoint, if there is one.
    ///
    /// # Errors
    /// [`TrainError::Io`] if the folder can't be listed.
    pub fn newest(&self) -> Result<Option<PathBuf>, TrainError> {
        Ok(self.names()?.pop().map(|name| self.dir.join(name)))
    }

    /// Names of all complete checkpoints, oldest first.
    fn names(&self) -> Result<Vec<String>, TrainError> {
        complete(&self.dir)
    }

    fn point_at(&self, name: &str) -> Result<(), TrainError> {
        let latest = self.dir.join(LATEST);
        let line = format!("{name}\n");
        if fs::read(&latest).is_ok_and(|text| text == line.as_bytes()) {
            return Ok(());
        }
        Ok(durable::replace(&latest, line.as_bytes())?)
    }
}

/// Names of the complete checkpoints in a folder, oldest first; steps have eight digits or more.
fn complete(dir: &Path) -> Result<Vec<String>, TrainError> {
    let mut names = durable::entries(dir, |name| step_of(name).is_some())?;
    names.sort_by_key(|name| step_of(name));
    Ok(names)
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Steps a run had taken when a checkpoint was made, by its name.
pub(crate) fn step_at(checkpoint: &Path) -> Option<u64> {
    step_of(checkpoint.file_name()?.to_str()?)
}

/// The complete checkpoints in a run's folder `checkpoints`, oldest first.
pub(crate) fn all(dir: &Path) -> Result<Vec<PathBuf>, TrainError> {
    Ok(complete(dir)?
        .into_iter()
        .map(|name| dir.join(name))
        .collect())
}

/// The newest checkpoint in a run's folder `checkpoints` that was made at `step` or before.
pub(crate) fn newest_until(dir: &Path, step: u64) -> Result<Option<PathBuf>, TrainError> {
    let names = complete(dir)?.into_iter().rev();
    let mut until = names.filter(|name| step_of(name).is_some_and(|at| at <= step));
    Ok(until.next().map(|name| dir.join(name)))
}

/// The files of a checkpoint.
pub(crate) const FILES: [&str; 4] = [MODEL, OPTIM, STATE, SUMS];

/// The newest checkpoint in a run's folder `checkpoints`, without touching anything.
///
/// # Errors
/// [`TrainError::Io`] if the folder can't be listed.
pub fn newest(dir: &Path) -> Result<Option<PathBuf>, TrainError> {
    Ok(complete(dir)?.pop().map(|name| dir.join(name)))
}

#[cfg(test)]
mod tests;
