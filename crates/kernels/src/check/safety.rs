//! What every fused operation has to stand: fresh inputs of odd sizes in any layout, numbers of any size, NaN and
//! infinity; and what its reference has to: finite differences.

use super::{Loss, Measure, Op, Outcome, Random, WEIGHTS, agree, distance, largest, normal, run};
use burn::tensor::{DType, Tensor};
use std::fmt::Debug;

/// Trials of an operation in one run of the tests.
const TRIALS: usize = 6;

/// For the largest error over the largest expected value.
const TOLERANCE: f64 = 5e-6;

/// How often the error of plain operations is allowed besides.
const NOISE: f64 = 16.0;

/// The variable that names the seed of the first trial.
const SEED: &str = "EVENBURN_SEED";

/// The variable that names the largest size, for checkers that make programs slow.
const LARGEST: &str = "EVENBURN_LARGEST";

/// Around the widths of vectors and tiles, and far below them.
const SIZES: [usize; 6] = [1, 3, 17, 63, 65, 257];

/// What leaves are multiplied by.
const MAGNITUDES: [f64; 5] = [1e-20, 1e-6, 1.0, 1e6, 1e15];

/// Beyond this a number is taken for out of range in single precision.
const RANGE: f64 = 1e37;

/// A number in a variable.
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// One trial's choices.
pub(crate) struct Draw(Random);

impl Draw {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.0.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn size(&mut self) -> usize {
        self.at_least(1)
    }

    pub(crate) fn at_least(&mut self, smallest: usize) -> usize {
        let largest = variable(LARGEST).map_or(usize::MAX, |largest| largest as usize);
        let fits = |size: &usize| (smallest..=largest).contains(size);
        let sizes: Vec<usize> = SIZES.into_iter().filter(fits).collect();
        self.pick(&sizes)
    }

    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next()
    }

    /// A tensor of this shape, somehow in memory.
    pub(crate) fn input<const D: usize>(&mut self, shape: [usize; D]) -> Input<D> {
        let layouts = [
            Layout::Plain,
            Layout::Fresh,
            Layout::Part,
            Layout::Repeated,
            Layout::Backwards,
            Layout::Transposed,
        ];
        // A vector has nothing to transpose.
        let layout = self.pick(&layouts[..layouts.len() - usize::from(D == 1)]);
        Input { shape, layout }
    }
}

/// How a tensor lies in memory.
#[derive(Debug, Clone, Copy)]
enum Layout {
    /// As the leaf, which others hold.
    Plain,
    /// In a buffer of its own.
    Fresh,
    /// Behind other entries of its row and before others.
    Part,
    /// One slice along the first dimension, seen everywhere along it.
    Repeated,
    /// From its last entry to its first.
    Backwards,
    /// With the last two dimensions exchanged.
    Transposed,
}

/// A tensor that an operation takes, made from a flat leaf.
#[derive(Clone, Copy)]
pub(crate) struct Input<const D: usize> {
    shape: [usize; D],
    layout: Layout,
}

impl<const D: usize> Debug for Input<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.layout, self.shape)
    }
}

impl<const D: usize> Input<D> {
    /// The shape of the leaf's entries as they lie in memory.
    fn stored(self) -> [usize; D] {
        let mut stored = self.shape;
        match self.layout {
            Layout::Plain | Layout::Fresh | Layout::Backwards => {}
            Layout::Part => stored[D - 1] += 5,
            Layout::Repeated => stored[0] = 1,
            Layout::Transposed => stored.swap(D - 2, D - 1),
        }
        stored
    }

    /// Entries of the leaf.
    pub(crate) fn size(self) -> usize {
        self.stored().iter().product()
    }

    pub(crate) fn of(self, leaf: &Tensor<1>) -> Tensor<D> {
        let stored: Tensor<D> = leaf.clone().reshape(self.stored());
        match self.layout {
            Layout::Plain => stored,
            Layout::Fresh => stored.mul_scalar(1.0),
            Layout::Part => stored.narrow(D - 1, 2, self.shape[D - 1]),
            Layout::Repeated => stored.expand(self.shape),
            Layout::Backwards => stored.flip(std::array::from_fn::<usize, D, _>(|i| i)),
            Layout::Transposed => stored.swap_dims(D - 2, D - 1),
        }
    }
}

/// Where a gradient is asked for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Gradients {
    Wanted,
    /// The operation has none.
    None,
}

/// Where numbers that aren't finite get to.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Spread {
    /// Where they do in the reference, if what is there depends on them.
    AsReference,
    /// No further than in the reference. An infinity may get less far: weights of 0 silence it.
    Less,
    /// NaN gets where it does in the reference; the operation's own tests have the rest.
    Own,
}

/// An operation with its reference on inputs of some sizes.
pub(crate) struct Trial<const D: usize> {
    /// Sizes and layouts, for the message.
    pub(crate) name: String,
    /// Lengths of the leaves.
    pub(crate) sizes: Vec<usize>,
    /// Numbers in the longest sum of the operation or its gradients: with leaves that are standard normal it is about
    /// the root of that, and what it is by chance may be far less than its rounding allows for.
    pub(crate) terms: usize,
    pub(crate) gradients: Gradients,
    pub(crate) spread: Spread,
    /// The operation, and its reference.
    pub(crate) ways: [Box<Op<D>>; 2],
}

/// The same composition around a function and around its reference.
pub(crate) fn both<F: Copy + Sync + 'static, const D: usize>(
    ways: [F; 2],
    op: impl Fn(F, &[Tensor<1>]) -> Tensor<D> + Clone + Sync + 'static,
) -> [Box<Op<D>>; 2] {
    ways.map(|way| {
        let op = op.clone();
        Box::new(move |x: &[Tensor<1>]| op(way, x)) as Box<Op<D>>
    })
}

/// Tries an operation on fresh inputs. A failure names its seed; `EVENBURN_SEED` begins with it again.
pub(crate) fn assert_safe<const D: usize>(name: &str, trial: impl Fn(&mut Draw) -> Trial<D>) {
    let first = variable(SEED).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    for seed in (first..).take(TRIALS) {
        let mut draw = Draw(Random::new(seed));
        let mut trial = trial(&mut draw);
        trial.name = format!("{SEED}={seed} {name} {}", trial.name);
        let leaves: Vec<Vec<f64>> = trial
            .sizes
            .iter()
            .map(|&n| normal(n, draw.seed()))
            .collect();
        let [fast, reference] = &trial.ways;
        let measure = Measure {
            tolerance: TOLERANCE,
            at_least: (trial.terms as f64).sqrt(),
            plain: NOISE,
        };
        agree(
            &trial.name,
            &leaves,
            measure,
            trial.gradients,
            fast,
            reference,
        );
        for _ in 0..2 {
            keeps_magnitudes(&trial, &leaves, &mut draw);
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            keeps_what_is_not_finite(&trial, &leaves, bad, &mut draw);
        }
        if trial.gradients == Gradients::Wanted {
            has_the_gradients_of_finite_differences(&trial, &leaves, &mut draw);
        }
    }
}

impl<const D: usize> Trial<D> {
    fn run(&self, way: usize, leaves: &[Vec<f64>], dtype: DType) -> Outcome {
        let tracked = vec![self.gradients == Gradients::Wanted; leaves.len()];
        run(&self.ways[way], leaves, dtype, &tracked, Loss::Weighted)
    }
}

/// The numbers of an outcome by name.
fn parts(outcome: &Outcome) -> impl Iterator<Item = (String, &Vec<f64>)> {
    let gradients = outcome.gradients.iter().flatten().enumerate();
    std::iter::once(("output".to_string(), &outcome.output))
        .chain(gradients.map(|(i, gradient)| (format!("gradient {i}"), gradient)))
}

/// With leaves of very different sizes the operation is about as exact as plain operations in single precision: their
/// error is that of some runs on leaves which differ by a rounding. What is out of range in double precision, or
/// already in the plain operations, isn't compared.
fn keeps_magnitudes<const D: usize>(trial: &Trial<D>, leaves: &[Vec<f64>], draw: &mut Draw) {
    let sizes: Vec<f64> = leaves.iter().map(|_| draw.pick(&MAGNITUDES)).collect();
    let scaled: Vec<Vec<f64>> = leaves
        .iter()
        .zip(&sizes)
        .map(|(leaf, size)| leaf.iter().map(|x| f64::from((x * size) as f32)).collect())
        .collect();
    let exact = trial.run(1, &scaled, DType::F64);
    let fast = trial.run(0, &scaled, DType::F32);
    let plain: Vec<Outcome> = (0..3)
        .map(|_| {
            let mut nudged = scaled.clone();
            for x in nudged.iter_mut().flatten() {
                *x *= 1.0 + [-1.0, 0.0, 1.0][draw.below(3)] * f64::from(f32::EPSILON);
            }
            trial.run(1, &nudged, DType::F32)
        })
        .collect();
    for (i, ((part, exact), (_, fast))) in parts(&exact).zip(parts(&fast)).enumerate() {
        let largest = largest(exact);
        let noise = plain.iter().filter_map(|plain| {
            let (_, plain) = parts(plain).nth(i)?;
            Some(distance(plain, exact))
        });
        let noise = noise.fold(0.0, f64::max);
        if largest > RANGE || !noise.is_finite() {
            continue;
        }
        let allowed = TOLERANCE * largest + NOISE * noise + f64::from(f32::MIN_POSITIVE);
        let found = distance(fast, exact);
        assert!(
            found <= allowed,
            "{}, leaves of size {sizes:?}: {part} is off by {found:e}, plain operations by {noise:e} of {largest:e}",
            trial.name
        );
    }
}

/// With one entry of one leaf that is not finite: what is finite in the reference is finite, and what isn't there isn't
/// here, if it depends on that entry. (Plain operations also spread it to others, over weights that are 0.)
fn keeps_what_is_not_finite<const D: usize>(
    trial: &Trial<D>,
    leaves: &[Vec<f64>],
    bad: f64,
    draw: &mut Draw,
) {
    let leaf = draw.below(leaves.len());
    let entry = draw.below(leaves[leaf].len());
    let name = format!("{}, {bad} in {entry} of leaf {leaf}", trial.name);
    let with = |value: f64| {
        let mut leaves = leaves.to_vec();
        leaves[leaf][entry] = value;
        leaves
    };
    let [before, after] = [0.5, -1.5].map(|value| trial.run(1, &with(value), DType::F64));
    let expected = trial.run(1, &with(bad), DType::F32);
    let found = trial.run(0, &with(bad), DType::F32);
    let moves = parts(&before).zip(parts(&after));
    let values = parts(&expected).zip(parts(&found));
    for (((part, before), (_, after)), ((_, expected), (_, found))) in moves.zip(values) {
        for i in 0..found.len() {
            let depends = before[i].to_bits() != after[i].to_bits();
            let fits = match (expected[i].is_finite(), found[i].is_finite()) {
                (true, finite) => finite || trial.spread == Spread::Own,
                (false, false) => true,
                (false, true) => {
                    !depends || (bad.is_infinite() && trial.spread != Spread::AsReference)
                }
            };
            assert!(
                fits,
                "{name}: {part}[{i}] is {} and {} in the reference",
                found[i], expected[i]
            );
        }
    }
}

/// The derivative of the reference along a random direction of each leaf, in double precision.
fn has_the_gradients_of_finite_differences<const D: usize>(
    trial: &Trial<D>,
    leaves: &[Vec<f64>],
    draw: &mut Draw,
) {
    /// Balances the error of the difference, of second order, with rounding.
    const STEP: f64 = 1e-5;
    let loss = |leaves: &[Vec<f64>]| -> f64 {
        let untracked = vec![false; leaves.len()];
        let outcome = run(
            &trial.ways[1],
            leaves,
            DType::F64,
            &untracked,
            Loss::Weighted,
        );
        let weights = normal(outcome.output.len(), WEIGHTS);
        outcome.output.iter().zip(weights).map(|(y, w)| y * w).sum()
    };
    let outcome = trial.run(1, leaves, DType::F64);
    for (i, gradient) in outcome.gradients.iter().flatten().enumerate() {
        let direction = normal(gradient.len(), draw.seed());
        let length = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
        let moved = |step: f64| {
            let mut leaves = leaves.to_vec();
            for (x, d) in leaves[i].iter_mut().zip(&direction) {
                *x += step * d / length;
            }
            loss(&leaves)
        };
        let found = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let expected = expected / length;
        let size = largest(gradient).max(1.0);
        assert!(
            (found - expected).abs() < 1e-6 * size,
            "{}: along gradient {i} the loss changes by {found}, not by {expected}",
            trial.name
        );
    }
}
