//! Sums over ranks, beside the slow, obvious ones; ranks that fail.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenburn_ranks::tree::TreeSum;
use evenburn_ranks::{
    Communicator, RankError, Threads, agree, broadcast, collect, local_rank, reduce_scatter, share,
};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// A generator whose seed is printed, so that what it found can be found again.
fn random() -> SmallRng {
    let seed = rand::rng().random();
    println!("seed {seed}");
    SmallRng::seed_from_u64(seed)
}

/// What every rank of a world makes of `work`.
fn on_all<T: Send>(world: usize, work: impl Fn(&dyn Communicator) -> T + Sync) -> Vec<T> {
    let ranks = Threads::all(world);
    std::thread::scope(|scope| {
        let running: Vec<_> = ranks
            .iter()
            .map(|rank| scope.spawn(|| work(rank)))
            .collect();
        running
            .into_iter()
            .map(|rank| rank.join().unwrap())
            .collect()
    })
}

/// Numbers of very different sizes, whose sums depend on their order.
fn numbers(random: &mut SmallRng, count: usize) -> Vec<f32> {
    let number = |_| (random.random::<f32>() - 0.5) * 10_f32.powi(random.random_range(-3..4));
    (0..count).map(number).collect()
}

/// `length` cut into `parts`, some of which may be empty.
fn cut(random: &mut SmallRng, length: usize, parts: usize) -> Vec<Range<usize>> {
    let mut places: Vec<usize> = (1..parts)
        .map(|_| random.random_range(0..=length))
        .collect();
    places.sort_unstable();
    let starts = std::iter::once(0).chain(places.clone());
    let ends = places.into_iter().chain([length]);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

/// The sum of the tree over leaves, element by element, by the definition in `tree`'s documentation.
fn defined(leaves: &[f32]) -> f32 {
    match leaves {
        [leaf] => *leaf,
        leaves => {
            let p = leaves.len().next_power_of_two() / 2;
            defined(&leaves[..p]) + defined(&leaves[p..])
        }
    }
}

#[test]
fn a_tree_adds_as_it_says_whatever_its_number_of_leaves() {
    let mut random = random();
    for leaves in 1..40 {
        let all = numbers(&mut random, leaves);
        let mut sum = TreeSum::default();
        for leaf in &all {
            sum.push(*leaf, |a, b| a + b);
        }
        let sum = sum.finish(|a, b| a + b).unwrap();
        assert_eq!(sum.to_bits(), defined(&all).to_bits(), "{leaves}");
    }
}

#[test]
fn sums_over_ranks_are_those_of_one() {
    let mut random = random();
    for (world, blocks) in [(1, 4), (2, 1), (2, 4), (3, 2), (4, 8), (5, 1), (8, 2)] {
        let length = random.random_range(0..30_000);
        let leaves: Vec<Vec<f32>> = (0..world * blocks)
            .map(|_| numbers(&mut random, length))
            .collect();
        let ranges = cut(&mut random, length, world);
        let sums = on_all(world, |rank| {
            let first = rank.rank() * blocks;
            let mut own: Vec<f32> = (0..length)
                .map(|i| {
                    let block: Vec<f32> = (first..first + blocks).map(|b| leaves[b][i]).collect();
                    defined(&block)
                })
                .collect();
            reduce_scatter(rank, &mut own, &ranges).unwrap();
            share(rank, &mut own, &ranges).unwrap();
            own
        });
        for i in 0..length {
            let all: Vec<f32> = leaves.iter().map(|leaf| leaf[i]).collect();
            let expected = defined(&all).to_bits();
            for sum in &sums {
                assert_eq!(
                    sum[i].to_bits(),
                    expected,
                    "{world} x {blocks}, element {i}"
                );
            }
        }
    }
}

/// A rank whose calls carry little, as MPI's do of what is too large for its counts.
#[derive(Debug)]
struct Narrow<'t> {
    rank: &'t dyn Communicator,
    largest: Arc<Mutex<usize>>,
}

const NARROW: usize = 7;

impl Narrow<'_> {
    fn carries(&self, elements: usize) {
        let mut largest = self.largest.lock().unwrap();
        *largest = elements.max(*largest);
    }
}

impl Communicator for Narrow<'_> {
    fn rank(&self) -> usize {
        self.rank.rank()
    }

    fn world(&self) -> usize {
        self.rank.world()
    }

    fn host(&self) -> String {
        self.rank.host()
    }

    fn limit(&self) -> usize {
        NARROW
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<(), RankError> {
        // The length of a message is one call.
        self.carries(if bytes.len() == 8 { 0 } else { bytes.len() });
        self.rank.broadcast(bytes)
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, RankError> {
        self.rank.all_gather(own)
    }

    fn exchange(&self, x: &[f32], to: &[Range<usize>]) -> Result<Vec<f32>, RankError> {
        self.carries(to.iter().map(Range::len).sum());
        self.rank.exchange(x, to)
    }

    fn all_gather_ranges(&self, x: &mut [f32], of: &[Range<usize>]) -> Result<(), RankError> {
        self.carries(of.iter().map(Range::len).sum());
        self.rank.all_gather_ranges(x, of)
    }

    fn set_patience(&self, patience: Option<Duration>) {
        self.rank.set_patience(patience);
    }

    fn abort(&self, why: &str) {
        self.rank.abort(why);
    }
}

#[test]
fn what_is_too_long_for_a_call_is_cut() {
    let mut random = random();
    let (world, length) = (3, 100);
    let xs: Vec<Vec<f32>> = (0..world).map(|_| numbers(&mut random, length)).collect();
    let ranges = cut(&mut random, length, world);
    let message: Vec<u8> = (0..50).collect();
    let run = |narrow: bool| {
        on_all(world, |rank| {
            let largest = Arc::default();
            let thin = Narrow {
                rank,
                largest: Arc::clone(&largest),
            };
            let rank: &dyn Communicator = if narrow { &thin } else { rank };
            let mut x = xs[rank.rank()].clone();
            reduce_scatter(rank, &mut x, &ranges).unwrap();
            share(rank, &mut x, &ranges).unwrap();
            let own = xs[rank.rank()][..10 * rank.rank()].to_vec();
            let collected = collect(rank, &own).unwrap();
            let given = if rank.rank() == 0 {
                message.clone()
            } else {
                Vec::new()
            };
            let told = broadcast(rank, given).unwrap();
            assert!(*largest.lock().unwrap() <= NARROW);
            (x, collected, told)
        })
    };
    let (wide, narrow) = (run(false), run(true));
    assert_eq!(wide, narrow);
    let (_, collected, _) = &wide[0];
    let lengths: Vec<usize> = collected.iter().map(Vec::len).collect();
    assert_eq!(lengths, [0, 10, 20]);
    assert_eq!(collected[2], xs[2][..20]);
    assert!(wide[1].1.is_empty());
    assert!(wide.iter().all(|(_, _, told)| *told == message));
}

#[test]
fn a_rank_that_fails_says_so_to_all() {
    let errors = on_all(3, |rank| {
        let own = match rank.rank() {
            1 => Err("no room left".to_owned()),
            _ => Ok(vec![7]),
        };
        agree(rank, own).unwrap_err().to_string()
    });
    assert_eq!(errors, ["rank 1 on this machine: no room left"; 3]);
}

#[test]
fn an_abort_wakes_those_who_wait() {
    let errors = on_all(4, |rank| {
        if rank.rank() == 2 {
            std::thread::sleep(Duration::from_millis(20));
            rank.abort("it panicked");
        }
        rank.all_gather(&[1]).unwrap_err()
    });
    let expected = RankError::Failed {
        rank: 2,
        host: "this machine".to_owned(),
        why: "it panicked".to_owned(),
    };
    assert_eq!(errors, vec![expected; 4]);
}

#[test]
fn ranks_that_make_different_calls_find_out() {
    let errors = on_all(2, |rank| match rank.rank() {
        0 => rank.all_gather(&[1]).unwrap_err(),
        _ => rank.exchange(&[1.0], &[0..1, 1..1]).unwrap_err(),
    });
    assert_eq!(errors[1], RankError::OutOfStep { rank: 1 });
}

#[test]
fn threads_are_all_on_one_machine() {
    let numbers = on_all(3, |rank| local_rank(rank).unwrap());
    assert_eq!(numbers, [0, 1, 2]);
}
