//! One step on several devices: each rank computes a block of the micro-batches and owns a part of the parameters.
//!
//! ```text
//! rank 0 (the loop)  ──order: batches──> every rank
//! every rank:  gradients of its block ──reduce_scatter──> sums of its own parameters
//!              squared norms ──agree──> the step's norms, the same everywhere
//!              its own parameters stepped ──share──> the same weights everywhere
//! ```
//!
//! Rank 0 runs the [`Trainer`](crate::Trainer): it alone reads text, decides when something is due and writes files. The others
//! [`follow`] its orders until it has no more. Where there is one rank, nothing of this happens.
//!
//! Sums have the order of a tree over micro-batch numbers ([`evenburn_ranks::tree`]), so that any [possible number](check_world) of
//! ranks trains the same weights to the last bit.

mod evaluation;
mod handover;
mod layout;
mod member;
mod messages;
pub(crate) mod ownership;
mod ranks;
pub(crate) mod threads;
mod worker;
mod worlds;

pub(crate) use handover::OptimizerState;
pub use member::RankTimes;
pub(crate) use messages::Beginning;
pub use messages::same_everywhere;
pub(crate) use ranks::Looks;
pub use ranks::Ranks;
pub use worker::follow;
pub use worlds::check as check_world;
