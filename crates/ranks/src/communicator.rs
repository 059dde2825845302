//! What moves numbers between ranks.

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use crate::RankError;

/// A rank among others, and the calls with which numbers get from one to another.
///
/// Ranks are numbered from 0. Every rank makes the same calls in the same order, with lengths and ranges that fit together; each call
/// returns once this rank has what it asked for. A single call carries no more than [`limit`](Self::limit) elements;
/// [`reduce_scatter`](crate::reduce_scatter), [`share`](crate::share), [`collect`](crate::collect) and
/// [`broadcast`](crate::broadcast) cut what is longer.
///
/// ```
/// use evenburn_ranks::{Communicator, Threads};
///
/// let ranks = Threads::all(2);
/// let gathered: Vec<_> = std::thread::scope(|scope| {
///     let of = |rank: &Threads| rank.all_gather(&[rank.rank() as u8 + 7]);
///     let running: Vec<_> = ranks.iter().map(|rank| scope.spawn(move || of(rank))).collect();
///     running.into_iter().map(|rank| rank.join().unwrap()).collect::<Result<_, _>>()
/// })?;
/// assert_eq!(gathered, [[[7], [8]], [[7], [8]]]);
/// # Ok::<(), evenburn_ranks::RankError>(())
/// ```
pub trait Communicator: Debug + Send + Sync {
    /// The number of this rank.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world(&self) -> usize;

    /// The machine that this rank runs on.
    fn host(&self) -> String;

    /// The most elements that a call may carry, all pieces together.
    fn limit(&self) -> usize;

    /// Fills `bytes` on every rank with those of rank 0. The length is the same everywhere.
    ///
    /// # Errors
    /// [`RankError`] where the ranks can't go on.
    fn broadcast(&self, bytes: &mut [u8]) -> Result<(), RankError>;

    /// The bytes of every rank, in the order of the ranks. They may have different lengths.
    ///
    /// # Errors
    /// [`RankError`] where the ranks can't go on.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, RankError>;

    /// Sends `x[to[r]]` to every rank `r`; returns the pieces that the ranks sent to this one, in their order, each as long as
    /// `to[rank]`. The ranges are the same everywhere.
    ///
    /// # Errors
    /// [`RankError`] where the ranks can't go on.
    fn exchange(&self, x: &[f32], to: &[Range<usize>]) -> Result<Vec<f32>, RankError>;

    /// Fills `x[of[r]]` with that of every rank `r`. The ranges are the same everywhere.
    ///
    /// # Errors
    /// [`RankError`] where the ranks can't go on.
    fn all_gather_ranges(&self, x: &mut [f32], of: &[Range<usize>]) -> Result<(), RankError>;

    /// How long a call may wait for other ranks before this one gives up and ends all; none, as at the beginning, waits for ever. A
    /// thread can't be stopped by itself, so ranks that are threads wait for ever.
    fn set_patience(&self, patience: Option<Duration>);

    /// Ends all ranks, whatever they are doing: those of a launcher as processes, others by an error of their next call.
    fn abort(&self, why: &str);
}
