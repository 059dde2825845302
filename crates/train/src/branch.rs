//! A run that goes on from a checkpoint of another one, which stays as it is.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::{self, State};
use crate::error::TrainError;
use crate::run_dir::{self, CHECKPOINTS, METRICS};
use crate::{cooldown, durable};

/// Where a run branches off.
#[derive(Debug)]
pub(crate) struct Branch {
    /// The other run.
    pub(crate) run: PathBuf,
    /// Its checkpoint.
    pub(crate) checkpoint: PathBuf,
    state: State,
}

impl Branch {
    /// Verifies the checkpoint.
    pub(crate) fn at(run: &Path, checkpoint: &Path) -> Result<Self, TrainError> {
        checkpoint::verify(checkpoint)?;
        Ok(Self {
            run: run.to_owned(),
            checkpoint: checkpoint.to_owned(),
            state: checkpoint::state(checkpoint)?,
        })
    }

    /// Steps until there.
    pub(crate) fn step(&self) -> u64 {
        self.state.step
    }

    /// Copies the past into the folder of the new run: the checkpoint, the history up to it, the configurations it was
    /// trained with, and a decay if one had begun.
    pub(crate) fn copy(&self, to: &Path) -> Result<(), TrainError> {
        let name = self.checkpoint.file_name().unwrap_or_default();
        let place = to.join(CHECKPOINTS).join(name);
        fs::create_dir(&place).map_err(|e| TrainError::io("create", &place, e))?;
        for file in checkpoint::FILES {
            copy(&self.checkpoint.join(file), &place.join(file), u64::MAX)?;
        }
        durable::sync_folder(&place)?;
        let history = self.run.join(METRICS);
        if history.is_file() {
            copy(&history, &to.join(METRICS), self.state.metrics_bytes)?;
        }
        // Each says until which step; the first that reaches the branch is the one its checkpoint was made with.
        for (until, config) in run_dir::configs(&self.run)? {
            run_dir::keep_config(&config, to, until.min(self.step()))?;
        }
        cooldown::carry(&self.run, to, self.step())
    }
}

/// Copies the first `bytes` bytes of a file, and waits until they are on disk.
fn copy(from: &Path, to: &Path, bytes: u64) -> Result<(), TrainError> {
    let read = |e| TrainError::io("read", from, e);
    let mut source = File::open(from).map_err(read)?.take(bytes);
    let mut target = File::create_new(to).map_err(|e| TrainError::io("create", to, e))?;
    std::io::copy(&mut source, &mut target)
        .and_then(|_| target.flush())
        .and_then(|()| target.sync_all())
        .map_err(|e| TrainError::io("write", to, e))
}
