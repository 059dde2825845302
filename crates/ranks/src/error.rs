//! Why ranks can't go on.

/// Why ranks can't go on together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RankError {
    /// A rank failed, and said so to the others.
    #[error("rank {rank} on {host}: {why}")]
    Failed {
        /// Its number.
        rank: usize,
        /// Its machine.
        host: String,
        /// What it said.
        why: String,
    },
    /// The ranks make different calls: a bug of whoever calls.
    #[error("rank {rank}: the ranks make different calls")]
    OutOfStep {
        /// The rank that noticed.
        rank: usize,
    },
    /// A message that is too long for one call.
    #[error("a message of {bytes} bytes between ranks, where {limit} is the most")]
    TooLong {
        /// Its length, all ranks together.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The MPI library doesn't start, or has too little support for threads.
    #[error("MPI: {0}")]
    Mpi(String),
}
