//! The ranks of a training that a launcher has started.

use crate::args::Train;
use crate::failure::{SaidElsewhere, WrongInput};
use crate::signals;
use anyhow::{Context, Result};
use evenburn::Registry;
use evenburn_files::sha256;
use evenburn_ranks::{Communicator, launched_ranks, local_rank};
use evenburn_train::TrainError;
use evenburn_train::data_parallel::{Ranks, follow, same_everywhere};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What this process does for a training.
pub(crate) enum Role {
    /// It trains, with the help of those behind it where there are any.
    Lead(Option<Ranks>),
    /// Rank 0 has trained, and this process was one of its ranks.
    Followed,
}

/// Trains as one of the ranks that a launcher has started, or finds that this process is to lead them. A process that nobody
/// launched leads alone.
pub(crate) fn join(
    registry: &Registry,
    arguments: &Train,
    overrides: &[(String, String)],
) -> Result<Role> {
    let Some(comm) = communicator()? else {
        return Ok(Role::Lead(None));
    };
    let started = started_with(arguments, overrides);
    // Rank 0 says what is wrong.
    let said = |error: TrainError| match comm.rank() {
        0 => anyhow::Error::from(error),
        _ => SaidElsewhere.into(),
    };
    same_everywhere(&*comm, started.map_err(|e| format!("{e:#}"))).map_err(said)?;
    let local = local_rank(&*comm)?;
    if comm.rank() == 0 {
        return Ok(Role::Lead(Some(Ranks::lead(comm))));
    }
    let stop =
        signals::stop_flag("telling rank 0, which finishes the step and saves a checkpoint")?;
    match follow(registry, &comm, local, &stop) {
        Ok(()) => Ok(Role::Followed),
        // Every rank has found the same.
        Err(TrainError::NonFinite { .. } | TrainError::Ranks(_)) => Err(SaidElsewhere.into()),
        Err(error) => {
            comm.abort(&error.to_string());
            Err(error.into())
        }
    }
}

/// The ranks of which this process is one, where a launcher has started several.
fn communicator() -> Result<Option<Arc<dyn Communicator>>> {
    let several = launched_ranks().filter(|ranks| *ranks > 1);
    let Some(ranks) = several else {
        return Ok(None);
    };
    let comm = launched(ranks)?;
    if comm.world() != ranks {
        let why = format!(
            "a launcher has started {ranks} ranks, and the MPI of this program sees {}: it was built with another one",
            comm.world()
        );
        return Err(WrongInput(why).into());
    }
    Ok(Some(comm))
}

#[cfg(feature = "mpi")]
fn launched(_: usize) -> Result<Arc<dyn Communicator>> {
    Ok(Arc::new(evenburn_ranks::Mpi::join()?))
}

#[cfg(not(feature = "mpi"))]
fn launched(ranks: usize) -> Result<Arc<dyn Communicator>> {
    let why = format!(
        "a launcher has started {ranks} ranks, and this program was built without the feature `mpi`: each would train the same run; \
         `cargo xtask train --ranks {ranks}` builds it with that"
    );
    Err(WrongInput(why).into())
}

/// What a rank was started with, which has to be the same everywhere: hashes of the program and of what it was told to do. What
/// rank 0 reads by it, the others have from there.
fn started_with(
    arguments: &Train,
    overrides: &[(String, String)],
) -> Result<BTreeMap<String, String>> {
    let file = match &arguments.config {
        // A run, which rank 0 reads.
        Some(path) if path.is_dir() => path.display().to_string(),
        Some(path) => hash_of(path)?,
        None => String::new(),
    };
    let (resume, run_dir) = (&arguments.resume, &arguments.run_dir);
    let told = format!("{overrides:?} {resume:?} {run_dir:?}");
    let program = hash_of(&std::env::current_exe()?)?;
    let all = [
        ("configuration", format!("{file} {told}")),
        ("program", program),
    ];
    Ok(all.map(|(name, value)| (name.to_owned(), value)).into())
}

fn hash_of(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(sha256(&bytes))
}
