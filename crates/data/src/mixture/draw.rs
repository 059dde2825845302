//! Which source of a mixture a sample comes from.
//!
//! Sample `n` has a place `u_n` in `[0, 1)`, and comes from the source `s` whose part of that interval has it:
//!
//! `w_1 + .. + w_(s-1) <= u_n * (w_1 + .. + w_S) < w_1 + .. + w_s`
//!
//! The places of a [`STRATA`]-long block of samples are stratified: one lies in each of as many equal parts of the interval,
//! somewhere in it, in random order. So every block has each source as often as its share says, to within two samples, and
//! the shares of `N` samples differ from the weights by about `sqrt(STRATA * N) ^ -1` and not by `sqrt(N) ^ -1`. Place and
//! order are drawn by a generator whose key is the seed and the number of the block: a sample's source depends on the seed, its
//! number and the weights that hold for it, and on nothing that was drawn before.

use crate::order::{STRATA, strata};

/// The source of a sample, by its number in the sequence of all samples and the weights that hold for it.
///
/// Weights are at least 0, one of them above it; a source of weight 0 is never drawn.
///
/// ```
/// use evenburn_data::draw;
/// let counts = (0..1000).fold([0_u32, 0], |mut counts, sample| {
///     counts[draw(7, sample, &[3.0, 1.0])] += 1;
///     counts
/// });
/// assert!(counts[0].abs_diff(750) <= 8);
/// assert!((0..100).all(|sample| draw(7, sample, &[0.0, 1.0]) == 1));
/// ```
pub fn draw(seed: u64, sample: u64, weights: &[f64]) -> usize {
    Draws::new(seed).source(sample, weights)
}

/// [`draw`] for samples that follow each other: the places of a block are made once.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    seed: u64,
    block: Option<(u64, Vec<u64>)>,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, block: None }
    }

    pub(super) fn source(&mut self, sample: u64, weights: &[f64]) -> usize {
        let number = sample / STRATA;
        let places = match &mut self.block {
            Some((of, places)) if *of == number => places,
            stale => &mut stale.insert((number, strata(self.seed, number))).1,
        };
        at(places[(sample % STRATA) as usize], weights)
    }
}

/// The source that has a place, which is a number of 64 bits as a part of 2^64.
fn at(place: u64, weights: &[f64]) -> usize {
    // The upper 53 bits, as a number in [0, 1) that f64 holds exactly.
    let unit = (place >> 11) as f64 / (1u64 << 53) as f64;
    let aim = unit * weights.iter().sum::<f64>();
    let mut end = 0.0;
    let mut drawn = 0;
    for (source, weight) in weights.iter().enumerate() {
        if *weight > 0.0 {
            drawn = source;
            end += weight;
            if aim < end {
                break;
            }
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sources_never_change() {
        // A change here changes what recorded runs of mixtures were trained on.
        let drawn: Vec<_> = (250..270).map(|n| draw(42, n, &[2.0, 1.0, 1.0])).collect();
        assert_eq!(
            drawn,
            [2, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1, 1, 2, 2]
        );
    }

    /// 20 seeds, a million samples each: every share is within 0.1 percentage points of its weight, under weights that change
    /// in between, too.
    #[test]
    fn shares_are_the_weights() {
        const SAMPLES: u64 = 1_000_000;
        let mixtures: [&[f64]; 3] = [
            &[0.52, 0.267, 0.052, 0.042, 0.046, 0.038, 0.035],
            &[1.0, 2.0],
            &[0.0, 3.0, 1e-3, 0.0],
        ];
        for seed in 0..20 {
            for weights in mixtures {
                let mut draws = Draws::new(seed);
                let mut counts = vec![0_u64; weights.len()];
                for sample in 0..SAMPLES {
                    counts[draws.source(sample, weights)] += 1;
                }
                let total: f64 = weights.iter().sum();
                for (count, weight) in counts.iter().zip(weights) {
                    let (share, wanted) = (*count as f64 / SAMPLES as f64, weight / total);
                    assert!(
                        (share - wanted).abs() < 1e-3,
                        "seed {seed}: {share} for {wanted}"
                    );
                    assert!(*weight > 0.0 || *count == 0);
                }
            }
            let mut draws = Draws::new(seed);
            let first = |sample| if sample < SAMPLES / 3 { 0.9 } else { 0.3 };
            let drawn = (0..SAMPLES).filter(|sample| {
                draws.source(*sample, &[first(*sample), 1.0 - first(*sample)]) == 0
            });
            let share = drawn.count() as f64 / SAMPLES as f64;
            assert!((share - 0.5).abs() < 1e-3, "seed {seed}: {share}");
        }
    }

    #[test]
    fn a_block_has_every_source_as_its_share_says() {
        for block in 0..200 {
            let samples = block * STRATA..(block + 1) * STRATA;
            let drawn = samples.filter(|n| draw(3, *n, &[1.0, 5.0, 2.0]) == 1);
            let wanted = STRATA * 5 / 8;
            assert!((drawn.count() as u64).abs_diff(wanted) <= 2);
        }
    }

    proptest! {
        /// In whatever order samples are asked for.
        #[test]
        fn what_was_drawn_before_does_not_matter(
            seed: u64,
            samples in prop::collection::vec(0u64..2000, 1..40),
            weights in prop::collection::vec(0.0f64..1e9, 1..6),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0.0));
            let mut draws = Draws::new(seed);
            for sample in samples {
                let drawn = draws.source(sample, &weights);
                prop_assert_eq!(drawn, draw(seed, sample, &weights));
                prop_assert!(weights[drawn] > 0.0);
            }
        }

        /// At the ends of the interval.
        #[test]
        fn every_place_is_of_a_source_that_has_some(
            place in prop::sample::select(vec![0, 1, 1 << 11, u64::MAX >> 1, u64::MAX - 1, u64::MAX]),
            weights in prop::collection::vec(prop::sample::select(vec![0.0, 1e-300, 0.1, 1.0, 1e300]), 1..6),
        ) {
            prop_assume!(weights.iter().any(|weight| *weight > 0.0));
            prop_assert!(weights[at(place, &weights)] > 0.0);
        }
    }
}
