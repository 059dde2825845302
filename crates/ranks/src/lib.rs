//! Numbers between the ranks of a data-parallel training.
//!
//! A [`Communicator`] moves numbers and never adds any: [`Alone`], [`Threads`] of one process, and `Mpi` (feature `mpi`) between
//! processes. What is summed is summed here, along a binary [tree] whose shape is that of the leaves, not of the ranks that
//! hold them, so that 1, 2, 4 or 8 ranks have the same sums to the last bit ([`reduce_scatter`]).
//!
//! ```text
//! rank 0: x0 ─┐ exchange            ┌─ sum of part 0 ─┐ share
//! rank 1: x1 ─┼─────────> additions ┼─ sum of part 1 ─┼───────> every rank has all
//! rank 2: x2 ─┘           in a tree └─ sum of part 2 ─┘
//! ```
//!
//! All ranks make the same calls in the same order. A rank that fails says so in the next call ([`agree`]), or ends all others with
//! [`Communicator::abort`].

mod agree;
mod alone;
mod collectives;
mod communicator;
mod error;
mod launcher;
mod local;
#[cfg(feature = "mpi")]
mod mpi;
mod threads;
pub mod tree;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub use agree::agree;
pub use alone::Alone;
pub use collectives::{broadcast, collect, reduce_scatter, share};
pub use communicator::Communicator;
pub use error::RankError;
pub use launcher::launched_ranks;
pub use local::local_rank;
pub use threads::Threads;
