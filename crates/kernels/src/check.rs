//! Compares a fast path with its reference.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// Normal numbers that depend on `seed` alone: a counter through a mixing function, then Box and Muller.
pub(crate) fn normal(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut uniform = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n)
        .map(|_| {
            let (a, b) = (1.0 - uniform(), uniform());
            // Rounded, so that single and double precision start from the same numbers.
            f64::from(((-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()) as f32)
        })
        .collect()
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
#[derive(Debug, PartialEq)]
struct Outcome {
    output: Vec<f64>,
    gradients: Vec<Option<Vec<f64>>>,
}

fn flat(data: &TensorData) -> Vec<f64> {
    data.iter::<f64>().collect()
}

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
            let weights = TensorData::new(normal(output.len(), 99), y.shape()).convert_dtype(dtype);
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

/// The largest difference over the largest expected value, or as it is where nothing but zeros is expected: the terms
/// that cancel then have the size of the leaves, which are standard normal.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let difference = |(a, b): (&f64, &f64)| {
        let d = (a - b).abs();
        if d.is_nan() { f64::INFINITY } else { d }
    };
    found
        .iter()
        .zip(expected)
        .map(difference)
        .fold(0.0, f64::max)
        / scale
}

fn assert_close(name: &str, found: &Outcome, expected: &Outcome, tolerance: f64) {
    let e = error(&found.output, &expected.output);
    assert!(e < tolerance, "{name}: the output is off by {e:.1e}");
    for (i, (found, expected)) in found.gradients.iter().zip(&expected.gradients).enumerate() {
        assert_eq!(found.is_some(), expected.is_some(), "{name}: gradient {i}");
        if let (Some(found), Some(expected)) = (found, expected) {
            let e = error(found, expected);
            assert!(e < tolerance, "{name}: gradient {i} is off by {e:.1e}");
        }
    }
}

/// Holds `fast` in single precision against `reference` in double, with all leaves tracked, each alone, and none;
/// asks for the same bits with other numbers of threads; and wants `fast` in double precision to be the reference.
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
    let all = vec![true; sizes.len()];
    let mut cases = vec![
        (all.clone(), Loss::Weighted),
        (all, Loss::Sum),
        (vec![false; sizes.len()], Loss::Sum),
    ];
    if sizes.len() > 1 {
        cases.extend((0..sizes.len()).map(|i| {
            let alone = (0..sizes.len()).map(|j| i == j).collect();
            (alone, Loss::Weighted)
        }));
    }
    for (tracked, loss) in cases {
        let name = format!("{name}, tracked {tracked:?}");
        let expected = run(reference, &leaves, DType::F64, &tracked, loss);
        let found = run(fast, &leaves, DType::F32, &tracked, loss);
        assert_close(&name, &found, &expected, tolerance);
        for threads in [1, 3] {
            let again = on_threads(threads, || run(fast, &leaves, DType::F32, &tracked, loss));
            assert!(found == again, "{name}: {threads} threads gave other bits");
        }
        let double = run(fast, &leaves, DType::F64, &tracked, loss);
        assert!(
            double == expected,
            "{name}: double precision is not the reference"
        );
    }
    // Without automatic differentiation at all.
    let device = Device::flex();
    let plain: Vec<Tensor<1>> = leaves
        .iter()
        .map(|x| {
            Tensor::from_data(
                TensorData::new(x.clone(), [x.len()]).convert_dtype(DType::F32),
                &device,
            )
        })
        .collect();
    let found = flat(&fast(&plain).into_data());
    let expected = run(
        reference,
        &leaves,
        DType::F64,
        &vec![false; sizes.len()],
        Loss::Sum,
    );
    assert!(
        error(&found, &expected.output) < tolerance,
        "{name}, plain device"
    );
}
