//! Ranks as processes, through the MPI that is installed.

mod watchdog;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives as _, Root as _};

use self::watchdog::Watchdog;
use crate::{Communicator, RankError};

/// What `MPI_Abort` tells the launcher.
const ABORTED: i32 = 1;

/// A rank that is a process: `mpirun` or `srun` starts them all.
///
/// Numbers go through the memory of the host. Dropped, it waits until all other ranks are (`MPI_Finalize`); a panic doesn't wait, and
/// ends them.
pub struct Mpi {
    /// There until it is dropped.
    universe: Option<Universe>,
    rank: usize,
    world: usize,
    host: String,
    watchdog: Watchdog,
    /// Calls from several threads come one after the other.
    calls: Mutex<()>,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Mpi");
        shown.field("rank", &self.rank).field("world", &self.world);
        shown.finish_non_exhaustive()
    }
}

impl Mpi {
    /// Joins the ranks that a launcher has started, once in a process. From then on a panic ends all of them.
    ///
    /// # Errors
    /// [`RankError::Mpi`] where it is done already, or where the library supports no threads.
    pub fn join() -> Result<Self, RankError> {
        let refused = |why: &str| RankError::Mpi(why.to_owned());
        let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| refused("it was started before"))?;
        if threading < Threading::Serialized {
            return Err(refused(
                "this library can't be called from a thread of one's own",
            ));
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        let host = mpi::environment::processor_name().unwrap_or_else(|_| "?".to_owned());
        end_all_on_panic(rank, host.clone());
        Ok(Self {
            watchdog: Watchdog::start(rank, host.clone())
                .map_err(|e| refused(&format!("no thread: {e}")))?,
            universe: Some(universe),
            rank,
            world: size,
            host,
            calls: Mutex::new(()),
        })
    }

    /// Makes a call, watched.
    fn call<R>(&self, what: &'static str, call: impl FnOnce(&SimpleCommunicator) -> R) -> R {
        let _one: MutexGuard<'_, ()> = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let _watched = self.watchdog.watch(what);
        call(&SimpleCommunicator::world())
    }

    /// Whether MPI can count so many elements.
    fn fits(elements: usize) -> bool {
        i32::try_from(elements).is_ok()
    }
}

/// Without this a panic would run `MPI_Finalize`, which waits for ranks that wait for this one.
fn end_all_on_panic(rank: usize, host: String) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        usual(info);
        tell(&format!("rank {rank} on {host} panicked; all ranks end"));
        SimpleCommunicator::world().abort(ABORTED);
    }));
}

/// A line on the standard error, whether somebody reads it or not.
fn tell(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Lengths and beginnings, as MPI has them.
fn counts(ranges: &[Range<usize>]) -> (Vec<i32>, Vec<i32>) {
    let pair = |range: &Range<usize>| (range.len() as i32, range.start as i32);
    ranges.iter().map(pair).unzip()
}

/// The same ranges, one behind the other.
fn packed(lengths: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut end = 0;
    let place = |length| {
        end += length;
        end - length..end
    };
    lengths.map(place).collect()
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    fn host(&self) -> String {
        self.host.clone()
    }

    fn limit(&self) -> usize {
        i32::MAX as usize
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<(), RankError> {
        self.call("a broadcast", |world| {
            world.process_at_rank(0).broadcast_into(bytes);
        });
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, RankError> {
        let mut lengths = vec![0_u64; self.world];
        self.call("a gathering of lengths", |world| {
            world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
        });
        let places = packed(lengths.iter().map(|length| *length as usize));
        let bytes = places.last().map_or(0, |range| range.end);
        if bytes > self.limit() {
            let limit = self.limit();
            return Err(RankError::TooLong { bytes, limit });
        }
        if bytes == 0 {
            return Ok(vec![Vec::new(); self.world]);
        }
        let mut all = vec![0_u8; bytes];
        // The address of no bytes is 1, which Open MPI takes for MPI_IN_PLACE.
        let somewhere = [0_u8];
        let own = if own.is_empty() { &somewhere[..0] } else { own };
        let (lengths, starts) = counts(&places);
        self.call("a gathering", |world| {
            let mut into = PartitionMut::new(&mut all[..], lengths, starts);
            world.all_gather_varcount_into(own, &mut into);
        });
        Ok(places
            .into_iter()
            .map(|range| all[range].to_vec())
            .collect())
    }

    fn exchange(&self, x: &[f32], to: &[Range<usize>]) -> Result<Vec<f32>, RankError> {
        let own = to[self.rank].len();
        let mut pieces = vec![0.0; own * self.world];
        let (received, places) = counts(&packed(std::iter::repeat_n(own, self.world)));
        let mut send = |x: &[f32], to: &[Range<usize>]| {
            let (lengths, starts) = counts(to);
            self.call("an exchange", |world| {
                let from = Partition::new(x, lengths, starts);
                let mut into = PartitionMut::new(&mut pieces[..], &received[..], &places[..]);
                world.all_to_all_varcount_into(&from, &mut into);
            });
        };
        // The binding counts the whole slice.
        if Self::fits(x.len()) {
            send(x, to);
        } else {
            let near = packed(to.iter().map(Range::len));
            let copies = to.iter().flat_map(|range| &x[range.clone()]);
            send(&copies.copied().collect::<Vec<_>>(), &near);
        }
        Ok(pieces)
    }

    fn all_gather_ranges(&self, x: &mut [f32], of: &[Range<usize>]) -> Result<(), RankError> {
        let own = x[of[self.rank].clone()].to_vec();
        let gather = |x: &mut [f32], of: &[Range<usize>]| {
            let (lengths, starts) = counts(of);
            self.call("a gathering of parts", |world| {
                let mut into = PartitionMut::new(x, lengths, starts);
                world.all_gather_varcount_into(&own[..], &mut into);
            });
        };
        if Self::fits(x.len()) {
            gather(x, of);
            return Ok(());
        }
        let near = packed(of.iter().map(Range::len));
        let mut all = vec![0.0; near.last().map_or(0, |range| range.end)];
        gather(&mut all, &near);
        for (range, place) in of.iter().zip(near) {
            x[range.clone()].copy_from_slice(&all[place]);
        }
        Ok(())
    }

    fn set_patience(&self, patience: Option<Duration>) {
        self.watchdog.set_patience(patience);
    }

    fn abort(&self, why: &str) {
        tell(&format!(
            "rank {} on {}: {why}; all ranks end",
            self.rank, self.host
        ));
        SimpleCommunicator::world().abort(ABORTED);
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        let _watched = self.watchdog.watch("the end of all ranks");
        drop(self.universe.take());
    }
}
