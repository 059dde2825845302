//! Saving a checkpoint, and removing old ones.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Checkpoints, MODEL, Named, OPTIM, PREFIX, STATE, SUMS, State, tensors};
use crate::error::TrainError;
use crate::{durable, hash};

impl Checkpoints {
    /// Saves a checkpoint and returns its directory. Each list of tensors is asked for when its file is written, so
    /// that both never are in memory at once.
    ///
    /// # Errors
    /// [`TrainError::Io`] if something can't be written; the checkpoints that were there stay as they were.
    pub fn save(
        &self,
        state: &State,
        model: impl FnOnce() -> Vec<Named>,
        optim: impl FnOnce() -> Vec<Named>,
    ) -> Result<PathBuf, TrainError> {
        self.save_from(state, model, || Ok(optim()))
    }

    /// The same with optimizer state that other ranks may fail to bring.
    pub(crate) fn save_from(
        &self,
        state: &State,
        model: impl FnOnce() -> Vec<Named>,
        optim: impl FnOnce() -> Result<Vec<Named>, TrainError>,
    ) -> Result<PathBuf, TrainError> {
        let name = format!("{PREFIX}{:08}", state.step);
        let aside = self.dir.join(format!(".saving-{name}"));
        fs::create_dir(&aside).map_err(|e| TrainError::io("create", &aside, e))?;
        write_tensors(&aside.join(MODEL), &model())?;
        write_tensors(&aside.join(OPTIM), &optim()?)?;
        let mut json = serde_json::to_vec_pretty(state).map_err(|e| TrainError::Unwritable {
            what: "the state of the run",
            why: e.to_string(),
        })?;
        json.push(b'\n');
        durable::write(&aside.join(STATE), &json)?;
        let mut sums = String::new();
        for file in [MODEL, OPTIM, STATE] {
            let _ = writeln!(sums, "{}  {file}", hash_file(&aside.join(file))?);
        }
        durable::write(&aside.join(SUMS), sums.as_bytes())?;
        durable::sync_folder(&aside)?;
        let place = self.dir.join(&name);
        durable::rename(&aside, &place)?;
        self.point_at(&name)?;
        self.remove_old()?;
        Ok(place)
    }

    fn remove_old(&self) -> Result<(), TrainError> {
        let names = self.names()?;
        for name in &names[..names.len().saturating_sub(self.keep)] {
            // Renamed first: half a checkpoint must never look like a whole one.
            let path = self.dir.join(name);
            let aside = self.dir.join(format!(".removing-{name}"));
            fs::rename(&path, &aside).map_err(|e| TrainError::io("rename", &path, e))?;
            fs::remove_dir_all(&aside).map_err(|e| TrainError::io("remove", &aside, e))?;
        }
        Ok(())
    }
}

fn write_tensors(path: &Path, list: &[Named]) -> Result<(), TrainError> {
    tensors::write(path, list)
        .map_err(|why| TrainError::io("write", path, std::io::Error::other(why)))?;
    Ok(durable::sync_file(path)?)
}

/// The hash of a checkpoint's file.
pub(super) fn hash_file(path: &Path) -> Result<String, TrainError> {
    hash::of_file(path).map_err(|e| TrainError::io("read", path, e))
}
