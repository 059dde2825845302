//! Compares a fast path with its reference.

#[cfg(feature = "flex")]
pub(crate) mod blocks;
mod safety;

pub(crate) use safety::{Gradients, Spread, Trial, assert_safe, both};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// Numbers that depend on a seed alone: a counter through a mixing function.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// At least 0 and below 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Normal numbers that depend on `seed` alone, after Box and Muller.
pub(crate) fn normal(n: usize, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..n)
        .map(|_| {
            let (a, b) = (1.0 - random.uniform(), random.uniform());
            // Rounded, so that single and double precision start from the same numbers.
            f64::from(((-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32)
        })
        .collect()
}

/// [`normal`] in single precision.
pub(crate) fn singles(n: usize, seed: u64) -> Vec<f32> {
    normal(n, seed).iter().map(|&x| x as f32).collect()
}

/// Whole numbers from `low` to `high - 1`.
pub(crate) fn integers(
    n: usize,
    low: i64,
    high: i64,
    seed: u64,
    device: &Device,
) -> Tensor<1, Int> {
    let values: Vec<i64> = normal(n, seed)
        .iter()
        .map(|x| low + (x.abs() * 1e6) as i64 % (high - low))
        .collect();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// A composition of tensors from the leaves, which come flat.
pub(crate) type Op<const D: usize> = dyn Fn(&[Tensor<1>]) -> Tensor<D> + Sync;

/// Output and gradients, flat.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    output: Vec<f64>,
    gradients: Vec<Option<Vec<f64>>>,
}

fn flat(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

/// The seed of the weights of a loss.
const WEIGHTS: u64 = 99;

#[derive(Clone, Copy, PartialEq)]
enum Loss {
    /// Every output with a weight of its own.
    Weighted,
    /// The plain sum, whose gradient is one number seen everywhere.
    Sum,
}

fn run<const D: usize>(
    op: &Op<D>,
    leaves: &[Vec<f64>],
    dtype: DType,
    tracked: &[bool],
    loss: Loss,
) -> Outcome {
    let device = Device::flex().autodiff();
    let leaves: Vec<Tensor<1>> = leaves
        .iter()
        .zip(tracked)
        .map(|(values, &tracked)| {
            let data = TensorData::new(values.clone(), [values.len()]).convert_dtype(dtype);
            let leaf = Tensor::from_data(data, (&device, dtype));
            if tracked { leaf.require_grad() } else { leaf }
        })
        .collect();
    let y = op(&leaves);
    let output = flat(&y.clone().into_data());
    let total = match loss {
        Loss::Sum => y.sum(),
        Loss::Weighted => {
            let weights =
                TensorData::new(normal(output.len(), WEIGHTS), y.shape()).convert_dtype(dtype);
            (y * Tensor::from_data(weights, (&device, dtype))).sum()
        }
    };
    let gradients = if tracked.contains(&true) {
        let grads = total.backward();
        let gradient = |leaf: &Tensor<1>| leaf.grad(&grads).map(|g| flat(&g.into_data()));
        leaves.iter().map(gradient).collect()
    } else {
        vec![None; leaves.len()]
    };
    Outcome { output, gradients }
}

/// Runs `f` with its own number of threads.
fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "flex")]
    {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(f)
    }
    #[cfg(not(feature = "flex"))]
    {
        let _ = threads;
        f()
    }
}

/// The largest difference.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let difference = |(a, b): (&f64, &f64)| {
        let d = (a - b).abs();
        if d.is_nan() { f64::INFINITY } else { d }
    };
    let differences = found.iter().zip(expected).map(difference);
    differences.fold(0.0, f64::max)
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, x| m.max(x.abs()))
}

/// What an error is measured by.
#[derive(Clone, Copy)]
struct Measure {
    /// Of the largest expected value.
    tolerance: f64,
    /// What stands for the largest expected value where that is less.
    at_least: f64,
    /// How often the error of plain operations in single precision is allowed besides.
    plain: f64,
}

impl Measure {
    /// Nothing but zeros expected is taken for 1: the terms that cancel then have the size of the leaves, which are
    /// standard normal.
    fn assert_part(self, name: &str, found: &[f64], expected: &[f64], plain: &[f64]) {
        let scale = largest(expected).max(self.at_least);
        let scale = if scale > 0.0 { scale } else { 1.0 };
        let allowed = self.tolerance * scale + self.plain * distance(plain, expected);
        let d = distance(found, expected);
        assert!(
            d < allowed,
            "{name} is off by {d:.1e}, {:.1e} of what is expected",
            d / scale
        );
    }

    fn assert_close(self, name: &str, found: &Outcome, expected: &Outcome, plain: &Outcome) {
        let output = format!("{name}: the output");
        self.assert_part(&output, &found.output, &expected.output, &plain.output);
        let gradients = found.gradients.iter().zip(&expected.gradients);
        for (i, ((found, expected), plain)) in gradients.zip(&plain.gradients).enumerate() {
            let name = format!("{name}: gradient {i}");
            assert_eq!(found.is_some(), expected.is_some(), "{name}");
            if let (Some(found), Some(expected), Some(plain)) = (found, expected, plain) {
                self.assert_part(&name, found, expected, plain);
            }
        }
    }
}

/// Holds `fast` against `reference` on leaves that depend on the sizes alone, as [`agree`] does.
pub(crate) fn assert_agree<const D: usize>(
    name: &str,
    sizes: &[usize],
    tolerance: f64,
    fast: &Op<D>,
    reference: &Op<D>,
) {
    let leaves: Vec<Vec<f64>> = (1..)
        .zip(sizes)
        .map(|(seed, &n)| normal(n, seed + n as u64))
        .collect();
    let measure = Measure {
        tolerance,
        at_least: 0.0,
        plain: 0.0,
    };
    agree(name, &leaves, measure, Gradients::Wanted, fast, reference);
}

/// Holds `fast` in single precision against `reference` in double, with all leaves tracked, each alone, and none;
/// asks for the same bits with other numbers of threads; and wants `fast` in double precision to be the reference.
fn agree<const D: usize>(
    name: &str,
    leaves: &[Vec<f64>],
    measure: Measure,
    gradients: Gradients,
    fast: &Op<D>,
    reference: &Op<D>,
) {
    let n = leaves.len();
    let mut cases = vec![(vec![false; n], Loss::Sum)];
    if gradients == Gradients::Wanted {
        cases.push((vec![true; n], Loss::Weighted));
        cases.push((vec![true; n], Loss::Sum));
        if n > 1 {
            cases.extend((0..n).map(|i| {
                let alone = (0..n).map(|j| i == j).collect();
                (alone, Loss::Weighted)
            }));
        }
    }
    for (tracked, loss) in cases {
        let name = format!("{name}, tracked {tracked:?}");
        let expected = run(reference, leaves, DType::F64, &tracked, loss);
        let found = run(fast, leaves, DType::F32, &tracked, loss);
        let plain = if measure.plain > 0.0 {
            run(reference, leaves, DType::F32, &tracked, loss)
        } else {
            expected.clone()
        };
        measure.assert_close(&name, &found, &expected, &plain);
        for threads in [1, 2, 3, 5] {
            let again = on_threads(threads, || run(fast, leaves, DType::F32, &tracked, loss));
            assert!(found == again, "{name}: {threads} threads gave other bits");
        }
        let double = run(fast, leaves, DType::F64, &tracked, loss);
        assert!(
            double == expected,
            "{name}: double precision is not the reference"
        );
    }
    // Without automatic differentiation at all.
    let device = Device::flex();
    let constant: Vec<Tensor<1>> = leaves
        .iter()
        .map(|x| {
            Tensor::from_data(
                TensorData::new(x.clone(), [x.len()]).convert_dtype(DType::F32),
                &device,
            )
        })
        .collect();
    let found = Outcome {
        output: flat(&fast(&constant).into_data()),
        gradients: vec![None; n],
    };
    let untracked = vec![false; n];
    let [expected, plain] =
        [DType::F64, DType::F32].map(|dtype| run(reference, leaves, dtype, &untracked, Loss::Sum));
    measure.assert_close(&format!("{name}, plain device"), &found, &expected, &plain);
}
