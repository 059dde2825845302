//! Which of the ranks of a machine this one is.

use crate::{Communicator, RankError};

/// The number of this rank among those of its machine, which chooses its device.
///
/// # Errors
/// As [`Communicator::all_gather`].
///
/// ```
/// use evenburn_ranks::{Alone, local_rank};
/// assert_eq!(local_rank(&Alone)?, 0);
/// # Ok::<(), evenburn_ranks::RankError>(())
/// ```
pub fn local_rank(ranks: &dyn Communicator) -> Result<usize, RankError> {
    let hosts = ranks.all_gather(ranks.host().as_bytes())?;
    let before = hosts.iter().take(ranks.rank());
    Ok(before.filter(|host| **host == hosts[ranks.rank()]).count())
}
