//! Loading a checkpoint: every byte is checked before one is believed.

use std::fs;
use std::path::{Path, PathBuf};

use super::write::hash_file;
use super::{FIRST_FORMAT, FORMAT, MODEL, Named, OPTIM, STATE, SUMS, State, complete, tensors};
use crate::error::TrainError;

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Loaded {
    /// Its directory.
    pub path: PathBuf,
    /// Counters and identities.
    pub state: State,
    /// Parameters by path.
    pub model: Vec<Named>,
    /// Optimizer state.
    pub optim: Vec<Named>,
}

impl Loaded {
    /// Reads a checkpoint directory.
    ///
    /// # Errors
    /// [`TrainError::Damaged`] names the file that is not what was written, and the newest older checkpoint that is
    /// intact; [`TrainError::Foreign`] for the format of another version.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        verify(path)?;
        let tensors = |name: &str| {
            tensors::read(&bytes(path, name)?).map_err(|why| damaged(path, name, &why))
        };
        Ok(Self {
            path: path.to_owned(),
            state: state(path)?,
            model: tensors(MODEL)?,
            optim: tensors(OPTIM)?,
        })
    }
}

fn bytes(path: &Path, name: &str) -> Result<Vec<u8>, TrainError> {
    let file = path.join(name);
    fs::read(&file).map_err(|e| TrainError::io("read", &file, e))
}

fn damaged(path: &Path, name: &str, why: &impl ToString) -> TrainError {
    TrainError::Damaged {
        file: path.join(name),
        why: why.to_string(),
        intact: None,
    }
}

/// Counters and identities of a checkpoint that was verified.
pub(crate) fn state(path: &Path) -> Result<State, TrainError> {
    let json: serde_json::Value =
        serde_json::from_slice(&bytes(path, STATE)?).map_err(|e| damaged(path, STATE, &e))?;
    let format = json.get("format").and_then(serde_json::Value::as_u64);
    let format = format.unwrap_or(0);
    if !(u64::from(FIRST_FORMAT)..=u64::from(FORMAT)).contains(&format) {
        return Err(TrainError::Foreign {
            path: path.to_owned(),
            what: "version of this program",
            why: format!("its format is {format}, this program reads {FIRST_FORMAT} to {FORMAT}"),
        });
    }
    serde_json::from_value(json).map_err(|e| damaged(path, STATE, &e))
}

/// Checks every file of a checkpoint against its checksum.
///
/// # Errors
/// [`TrainError::Damaged`] names the file that is not what was written, and the newest other checkpoint that is intact.
pub(crate) fn verify(path: &Path) -> Result<(), TrainError> {
    check(path).map_err(|e| with_intact(e, path))
}

fn check(path: &Path) -> Result<(), TrainError> {
    let damaged = |name: &str, why: &str| damaged(path, name, &why);
    let sums = path.join(SUMS);
    let text = match fs::read(&sums) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| damaged(SUMS, "it is not text"))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(SUMS, "it is missing"));
        }
        Err(e) => return Err(TrainError::io("read", &sums, e)),
    };
    let mut rest = text.as_str();
    for file in [MODEL, OPTIM, STATE] {
        let line = rest.split_inclusive('\n').next().unwrap_or("");
        rest = &rest[line.len()..];
        let Some(sum) = line.strip_suffix(&format!("  {file}\n")) else {
            return Err(damaged(SUMS, &format!("it has no line for {file}")));
        };
        if !path.join(file).is_file() {
            return Err(damaged(file, "it is missing"));
        }
        if hash_file(&path.join(file))? != sum {
            return Err(damaged(
                file,
                &format!("its checksum is not the one in {SUMS}"),
            ));
        }
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(damaged(SUMS, "it has more lines than files"))
    }
}

/// Adds the newest other checkpoint that is whole.
fn with_intact(error: TrainError, path: &Path) -> TrainError {
    let TrainError::Damaged { file, why, .. } = error else {
        return error;
    };
    let others = path.parent().map(|dir| {
        complete(dir)
            .unwrap_or_default()
            .into_iter()
            .map(|n| dir.join(n))
    });
    let intact = others
        .into_iter()
        .flatten()
        .rev()
        .find(|other| other != path && check(other).is_ok());
    TrainError::Damaged { file, why, intact }
}
