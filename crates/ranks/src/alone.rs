//! A single rank.

use std::ops::Range;
use std::time::Duration;

use crate::{Communicator, RankError};

/// The one rank of a training on one device: nothing moves.
///
/// ```
/// use evenburn_ranks::{Alone, Communicator};
/// assert_eq!(Alone.exchange(&[1.0, 2.0, 3.0], &[1..3])?, [2.0, 3.0]);
/// # Ok::<(), evenburn_ranks::RankError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Communicator for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn world(&self) -> usize {
        1
    }

    fn host(&self) -> String {
        "this machine".to_owned()
    }

    fn limit(&self) -> usize {
        usize::MAX
    }

    fn broadcast(&self, _: &mut [u8]) -> Result<(), RankError> {
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, RankError> {
        Ok(vec![own.to_vec()])
    }

    fn exchange(&self, x: &[f32], to: &[Range<usize>]) -> Result<Vec<f32>, RankError> {
        match to {
            [all] => Ok(x[all.clone()].to_vec()),
            _ => Err(RankError::OutOfStep { rank: 0 }),
        }
    }

    fn all_gather_ranges(&self, _: &mut [f32], _: &[Range<usize>]) -> Result<(), RankError> {
        Ok(())
    }

    fn set_patience(&self, _: Option<Duration>) {}

    fn abort(&self, _: &str) {}
}
