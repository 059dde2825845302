//! The devices of one process, each a rank of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use evenburn_ranks::{Communicator, Threads};

use super::{Ranks, follow};
use crate::config::DeviceList;
use crate::error::TrainError;
use crate::registry::Registry;

/// Rank 0 of as many ranks as there are devices; a thread follows for each of the others, and ends with the run.
pub(crate) fn start(registry: &Registry, devices: &DeviceList) -> Result<Ranks, TrainError> {
    let world = devices.entries()?.len();
    if world == 1 {
        return Ok(Ranks::alone());
    }
    let mut all = Threads::all(world).into_iter();
    let first = all.next();
    let first: Arc<dyn Communicator> =
        Arc::new(first.ok_or_else(|| TrainError::Stopped("no ranks".to_owned()))?);
    let ranks = Ranks::lead(Arc::clone(&first));
    for (local, comm) in (1..).zip(all) {
        let comm: Arc<dyn Communicator> = Arc::new(comm);
        let registry = registry.clone();
        let work = move || {
            let never = AtomicBool::new(false);
            if let Err(error) = follow(&registry, &comm, local, &never) {
                // Where the others wait for it; whoever knows already has the first error.
                comm.abort(&error.to_string());
                log::error!("rank {local}: {error}");
            }
        };
        std::thread::Builder::new()
            .name(format!("rank {local}"))
            .spawn(work)
            .map_err(|e| {
                let why = format!("rank {local} has no thread: {e}");
                first.abort(&why);
                TrainError::Stopped(why)
            })?;
    }
    Ok(ranks)
}
