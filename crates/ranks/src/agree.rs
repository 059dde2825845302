//! What every rank has come to, or that one of them has failed.

use crate::{Communicator, RankError};

/// The bytes of every rank, in the order of the ranks, if none of them failed.
///
/// A rank that fails takes part all the same, so that no other waits for it.
///
/// # Errors
/// [`RankError::Failed`] of the first rank that failed, and as [`Communicator::all_gather`].
///
/// ```
/// use evenburn_ranks::{Alone, agree};
/// assert_eq!(agree(&Alone, Ok(vec![1, 2]))?, [[1, 2]]);
/// let failed = agree(&Alone, Err("no room left".to_owned())).unwrap_err();
/// assert_eq!(failed.to_string(), "rank 0 on this machine: no room left");
/// # Ok::<(), evenburn_ranks::RankError>(())
/// ```
pub fn agree(
    ranks: &dyn Communicator,
    own: Result<Vec<u8>, String>,
) -> Result<Vec<Vec<u8>>, RankError> {
    let mut message = match own {
        Ok(mut bytes) => {
            bytes.push(0);
            bytes
        }
        // The machine's name, a zero that no name has, and what is wrong.
        Err(why) => {
            let mut text = format!("{}\0{why}", ranks.host()).into_bytes();
            text.push(1);
            text
        }
    };
    let all = ranks.all_gather(&message)?;
    message.clear();
    let mut results = Vec::with_capacity(all.len());
    for (rank, mut bytes) in all.into_iter().enumerate() {
        if bytes.pop() == Some(0) {
            results.push(bytes);
            continue;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (host, why) = text.split_once('\0').unwrap_or(("", &text));
        return Err(RankError::Failed {
            rank,
            host: host.to_owned(),
            why: why.to_owned(),
        });
    }
    Ok(results)
}
