//! The order of samples, as a pure function of seed, epoch, shard and window.
//!
//! Every permutation comes from a `ChaCha8` generator whose key says what it is for, so that none
//! depends on how many numbers something else has drawn.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The order in which an epoch visits `shards` shards.
///
/// ```
/// use evenburn_data::order::shard_order;
/// let mut order = shard_order(7, 0, 100);
/// assert_ne!(order, shard_order(7, 1, 100));
/// order.sort();
/// assert!(order.into_iter().eq(0..100));
/// ```
pub fn shard_order(seed: u64, epoch: u64, shards: usize) -> Vec<u32> {
    permutation(shards as u64, key(*b"shards\0\0", seed, epoch, 0))
}

/// The order in which an epoch visits the `samples` samples of a window of shard number `shard`.
///
/// ```
/// use evenburn_data::order::sample_order;
/// let mut order = sample_order(7, 0, 3, 1, 100);
/// assert_ne!(order, sample_order(7, 0, 3, 2, 100));
/// order.sort();
/// assert!(order.into_iter().eq(0..100));
/// ```
pub fn sample_order(seed: u64, epoch: u64, shard: usize, window: usize, samples: u64) -> Vec<u32> {
    // The first window has the key that the shard had before there were several.
    let place = shard as u64 | (window as u64) << 32;
    permutation(samples, key(*b"samples\0", seed, epoch, place))
}

/// Samples of a mixture whose sources are drawn together: a batch or a few, so that nearly every step has the mixture's shares.
pub(crate) const STRATA: u64 = 256;

/// [`STRATA`] numbers of 64 bits, one in each of as many equal parts of their range, in random order.
pub(crate) fn strata(seed: u64, block: u64) -> Vec<u64> {
    let mut within = ChaCha8Rng::from_seed(key(*b"mixture\0", seed, block, 1));
    permutation(STRATA, key(*b"mixture\0", seed, block, 0))
        .into_iter()
        .map(|part| u64::from(part) * (u64::MAX / STRATA + 1) + within.next_u64() / STRATA)
        .collect()
}

/// The shards of every epoch, one permutation of which is kept: that of the epoch asked for last.
#[derive(Debug, Clone)]
pub(crate) struct ShardOrder {
    seed: u64,
    shards: usize,
    epoch: Option<(u64, Vec<u32>)>,
}

impl ShardOrder {
    pub(crate) fn new(seed: u64, shards: usize) -> Self {
        Self {
            seed,
            shards,
            epoch: None,
        }
    }

    /// The number of the shard at a position of an epoch, which must be below the number of shards.
    pub(crate) fn shard(&mut self, epoch: u64, position: usize) -> usize {
        let order = match &mut self.epoch {
            Some((of, order)) if *of == epoch => order,
            stale => {
                &mut stale
                    .insert((epoch, shard_order(self.seed, epoch, self.shards)))
                    .1
            }
        };
        order[position] as usize
    }
}

fn key(purpose: [u8; 8], seed: u64, epoch: u64, place: u64) -> [u8; 32] {
    let mut key = [0; 32];
    let words = [
        purpose,
        seed.to_le_bytes(),
        epoch.to_le_bytes(),
        place.to_le_bytes(),
    ];
    for (slot, word) in key.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word);
    }
    key
}

/// Fisher-Yates. Written out, because the shuffles of random-number crates may change between
/// versions, and an order must not.
fn permutation(n: u64, key: [u8; 32]) -> Vec<u32> {
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..order.len()).rev() {
        let j = below(&mut rng, i as u64 + 1) as usize;
        order.swap(i, j);
    }
    order
}

/// A uniform integer below `n` (Lemire, "Fast random integer generation in an interval", 2019).
fn below(rng: &mut impl Rng, n: u64) -> u64 {
    let threshold = n.wrapping_neg() % n;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(n);
        if product as u64 >= threshold {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_order_never_changes() {
        // A change here changes what every recorded run was trained on.
        assert_eq!(shard_order(42, 3, 10), [4, 8, 6, 2, 5, 7, 1, 9, 3, 0]);
        assert_eq!(
            sample_order(42, 3, 5, 0, 10),
            [2, 8, 6, 9, 4, 0, 7, 3, 5, 1]
        );
    }

    proptest! {
        #[test]
        fn permutations_hit_every_index_once(seed: u64, epoch in 0u64..5, shard in 0usize..9, window in 0usize..4, n in 0u64..500) {
            let mut order = sample_order(seed, epoch, shard, window, n);
            order.sort_unstable();
            prop_assert!(order.into_iter().map(u64::from).eq(0..n));
        }

        #[test]
        fn strata_fill_their_range_evenly(seed: u64, block: u64) {
            let mut parts: Vec<_> = strata(seed, block).into_iter().map(|place| place >> 56).collect();
            prop_assert!(!parts.is_sorted());
            parts.sort_unstable();
            prop_assert!(parts.into_iter().eq(0..STRATA));
        }

        #[test]
        fn draws_stay_below_their_bound(seed: u64, n in 1u64..) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            prop_assert!(below(&mut rng, n) < n);
        }
    }

    #[test]
    fn orders_differ_by_seed_epoch_shard_and_window() {
        let all = [
            sample_order(1, 0, 0, 0, 64),
            sample_order(2, 0, 0, 0, 64),
            sample_order(1, 1, 0, 0, 64),
            sample_order(1, 0, 1, 0, 64),
            sample_order(1, 0, 0, 1, 64),
            sample_order(1, 0, 1, 1, 64),
            shard_order(1, 0, 64),
        ];
        let places: Vec<_> = [(1, 0), (2, 0), (1, 1)]
            .map(|(seed, block)| strata(seed, block))
            .into();
        assert!(places[0] != places[1] && places[0] != places[2]);
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
