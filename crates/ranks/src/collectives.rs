//! What the training asks of ranks, made of the calls of a [`Communicator`].

use std::ops::Range;

use crate::tree::sum_pieces;
use crate::{Communicator, RankError};

/// Elements that an exchange holds beside what it exchanges, on each side: 64 MiB.
const STAGED: usize = 1 << 24;

/// `x[ranges[rank]]` becomes the sum over all ranks, in the order of a [tree](crate::tree) over them; the rest of `x` is left as it is.
///
/// # Errors
/// As [`Communicator::exchange`].
///
/// ```
/// use evenburn_ranks::{Communicator as _, RankError, Threads, reduce_scatter, share};
/// let ranks = Threads::all(2);
/// let work = |rank: &Threads| {
///     let mut x = if rank.rank() == 0 { [1.0, 2.0, 3.0] } else { [10.0, 20.0, 30.0] };
///     // Two sums are made on rank 0, one on rank 1; then both have all three.
///     let ranges = [0..2, 2..3];
///     reduce_scatter(rank, &mut x, &ranges)?;
///     assert_eq!(x, if rank.rank() == 0 { [11.0, 22.0, 3.0] } else { [10.0, 20.0, 33.0] });
///     share(rank, &mut x, &ranges)?;
///     assert_eq!(x, [11.0, 22.0, 33.0]);
///     Ok::<(), RankError>(())
/// };
/// std::thread::scope(|scope| {
///     let running: Vec<_> = ranks.iter().map(|rank| scope.spawn(move || work(rank))).collect();
///     running.into_iter().try_for_each(|rank| rank.join().unwrap())
/// })?;
/// # Ok::<(), RankError>(())
/// ```
pub fn reduce_scatter(
    ranks: &dyn Communicator,
    x: &mut [f32],
    ranges: &[Range<usize>],
) -> Result<(), RankError> {
    let (world, own) = (ranks.world(), &ranges[ranks.rank()]);
    if world == 1 {
        return Ok(());
    }
    for part in rounds(ranks, ranges) {
        let pieces = ranks.exchange(x, &part)?;
        let place = part[ranks.rank()].clone();
        debug_assert!(place.start >= own.start && place.end <= own.end);
        x[place].copy_from_slice(&sum_pieces(pieces, world));
    }
    Ok(())
}

/// Every rank has every rank's part of `x`: what follows a [`reduce_scatter`], which has an example of both.
///
/// # Errors
/// As [`Communicator::all_gather_ranges`].
pub fn share(
    ranks: &dyn Communicator,
    x: &mut [f32],
    ranges: &[Range<usize>],
) -> Result<(), RankError> {
    if ranks.world() == 1 {
        return Ok(());
    }
    for part in rounds(ranks, ranges) {
        ranks.all_gather_ranges(x, &part)?;
    }
    Ok(())
}

/// On rank 0 the numbers of every rank, in the order of the ranks; nothing elsewhere. They may have different lengths.
///
/// # Errors
/// As [`Communicator::exchange`].
///
/// ```
/// use evenburn_ranks::{Communicator as _, RankError, Threads, collect};
/// let ranks = Threads::all(2);
/// let work = |rank: &Threads| {
///     let all = collect(rank, &vec![0.5; 1 + rank.rank()])?;
///     assert_eq!(all, if rank.rank() == 0 { vec![vec![0.5], vec![0.5; 2]] } else { Vec::new() });
///     Ok::<(), RankError>(())
/// };
/// std::thread::scope(|scope| {
///     let running: Vec<_> = ranks.iter().map(|rank| scope.spawn(move || work(rank))).collect();
///     running.into_iter().try_for_each(|rank| rank.join().unwrap())
/// })?;
/// # Ok::<(), RankError>(())
/// ```
pub fn collect(ranks: &dyn Communicator, own: &[f32]) -> Result<Vec<Vec<f32>>, RankError> {
    let (rank, world) = (ranks.rank(), ranks.world());
    let lengths = ranks.all_gather(&(own.len() as u64).to_le_bytes())?;
    let lengths: Vec<usize> = lengths
        .iter()
        .map(|bytes| bytes.as_slice().try_into().map(u64::from_le_bytes))
        .map(|length| length.map(|length| length as usize))
        .collect::<Result<_, _>>()
        .map_err(|_| RankError::OutOfStep { rank })?;
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let step = (STAGED.min(ranks.limit()) / world).max(1);
    let mut all = vec![Vec::new(); if rank == 0 { world } else { 0 }];
    for start in (0..longest).step_by(step) {
        let length = step.min(longest - start);
        let part = start.min(own.len())..(start + length).min(own.len());
        let mut piece = own[part].to_vec();
        piece.resize(length, 0.0);
        let mut to = vec![length..length; world];
        to[0] = 0..length;
        let pieces = ranks.exchange(&piece, &to)?;
        for (whole, (piece, length)) in all
            .iter_mut()
            .zip(pieces.chunks(length.max(1)).zip(&lengths))
        {
            let left = length.saturating_sub(start).min(piece.len());
            whole.extend_from_slice(&piece[..left]);
        }
    }
    Ok(all)
}

/// Every rank has the bytes of rank 0, whose length the others needn't know.
///
/// # Errors
/// As [`Communicator::broadcast`].
///
/// ```
/// use evenburn_ranks::{Communicator as _, RankError, Threads, broadcast};
/// let ranks = Threads::all(2);
/// let work = |rank: &Threads| {
///     let own = if rank.rank() == 0 { b"go on".to_vec() } else { Vec::new() };
///     assert_eq!(broadcast(rank, own)?, b"go on");
///     Ok::<(), RankError>(())
/// };
/// std::thread::scope(|scope| {
///     let running: Vec<_> = ranks.iter().map(|rank| scope.spawn(move || work(rank))).collect();
///     running.into_iter().try_for_each(|rank| rank.join().unwrap())
/// })?;
/// # Ok::<(), RankError>(())
/// ```
pub fn broadcast(ranks: &dyn Communicator, bytes: Vec<u8>) -> Result<Vec<u8>, RankError> {
    if ranks.world() == 1 {
        return Ok(bytes);
    }
    let mut length = (bytes.len() as u64).to_le_bytes();
    ranks.broadcast(&mut length)?;
    let mut bytes = if ranks.rank() == 0 {
        bytes
    } else {
        vec![0; u64::from_le_bytes(length) as usize]
    };
    for part in bytes.chunks_mut(ranks.limit().min(4 * STAGED)) {
        ranks.broadcast(part)?;
    }
    Ok(bytes)
}

/// Ranges cut so that a call carries no more than it may and stages no more than [`STAGED`].
fn rounds(
    ranks: &dyn Communicator,
    ranges: &[Range<usize>],
) -> impl Iterator<Item = Vec<Range<usize>>> {
    let step = (STAGED.min(ranks.limit()) / ranks.world()).max(1);
    let longest = ranges.iter().map(Range::len).max().unwrap_or(0);
    let ranges = ranges.to_vec();
    (0..longest).step_by(step).map(move |start| {
        let part = |range: &Range<usize>| {
            let begin = (range.start + start).min(range.end);
            begin..(begin + step).min(range.end)
        };
        ranges.iter().map(part).collect()
    })
}
