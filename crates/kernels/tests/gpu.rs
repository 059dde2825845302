//! The kernels of GPU backends against the references in double precision on the CPU, through Burn's dispatch, fusion and
//! automatic differentiation. Runs on whatever adapter `wgpu` finds; Mesa's lavapipe is one in software.
//!
//! A race in `wgpu-core` 30.0.1 ("the current submission index should be at least the wait submission index") stops one run
//! in several, but was not seen on one processor (`taskset -c 0`).

use burn::tensor::{DType, Device, DeviceKind, Distribution, Int, Tensor, TensorData};
use evenburn_kernels::{Precision, Size, reference};

type Leaves<'a> = &'a [Tensor<1>];

/// Of the largest expected value.
const TOLERANCE: f64 = 2e-5;

fn values(x: Tensor<1>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// The output, and the gradient of each leaf where every output counts differently.
fn run(
    op: impl Fn(Leaves) -> Tensor<1>,
    leaves: &[TensorData],
    device: &Device,
    dtype: DType,
) -> Vec<Vec<f64>> {
    let device = device.clone().autodiff();
    let upload = |data: &TensorData| -> Tensor<1> {
        Tensor::from_data(data.clone().convert_dtype(dtype), (&device, dtype))
    };
    let leaves: Vec<_> = leaves.iter().map(|x| upload(x).require_grad()).collect();
    let y = op(&leaves);
    let n = y.dims()[0];
    let weights: Vec<f64> = (0..n).map(|i| (i as f64 * 1.3).sin() + 0.2).collect();
    let weights = upload(&TensorData::new(weights, [n]));
    let gradients = (y.clone() * weights).sum().backward();
    let gradient = |leaf: &Tensor<1>| values(leaf.grad(&gradients).expect("every leaf is read"));
    let mut results = vec![values(y)];
    results.extend(leaves.iter().map(gradient));
    results
}

/// Holds a function and its reference, on the adapter, against the reference on the CPU, on normal numbers.
fn assert_agree<F: Copy>(
    name: &str,
    sizes: &[usize],
    [fast, plain]: [F; 2],
    op: impl Fn(F, Leaves) -> Tensor<1>,
) {
    let cpu = Device::flex();
    let normal = |n| Tensor::<1>::random([n], Distribution::Normal(0.0, 1.0), &cpu).into_data();
    let leaves: Vec<_> = sizes.iter().map(|&n| normal(n)).collect();
    let expected = run(|x| op(plain, x), &leaves, &cpu, DType::F64);
    let gpu = Device::wgpu(DeviceKind::DefaultDevice);
    for (way, function) in [("fused", fast), ("reference", plain)] {
        let found = run(|x| op(function, x), &leaves, &gpu, DType::F32);
        for (part, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.len(), expected.len(), "{name}, {way}: part {part}");
            let scale = expected.iter().fold(1e-6_f64, |m, x| m.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                let close = (found - expected).abs() < TOLERANCE * scale;
                assert!(close, "{name}, {way}: part {part}: {found} for {expected}");
            }
        }
    }
}

/// `n` whole numbers between the limits, far from sorted.
fn whole(n: usize, [low, high]: [i64; 2], like: &Tensor<1>) -> Tensor<1, Int> {
    let values = (0..n as i64)
        .map(|i| low + (i * 7919 + 3) % (high - low))
        .collect();
    Tensor::from_data(TensorData::new::<i64, _>(values, [n]), &like.device())
}

fn flat<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    x.flatten(0, D - 1)
}

#[test]
fn normalization() {
    type Way = fn(Tensor<2>, Option<Tensor<1>>, Size, f64, usize) -> Tensor<2>;
    let ways: [Way; 2] = [evenburn_kernels::normalize, reference::normalize];
    for (rows, width, group) in [(1, 2, 2), (3, 34, 17), (65, 63, 63), (40, 514, 257)] {
        for size in [Size::Rms, Size::L2] {
            let name = format!("{rows} x {width} in groups of {group}");
            let n = rows * width;
            assert_agree(&name, &[n], ways, |normalize, x| {
                let x = x[0].clone().reshape([rows, width]);
                flat(normalize(x, None, size, 1e-6, group))
            });
            assert_agree(&name, &[n, group], ways, |normalize, x| {
                // Read once more besides, and strided.
                let rows = x[0].clone().reshape([width, rows]).transpose();
                let y = normalize(rows.clone() * 0.5, Some(x[1].clone()), size, 1e-6, group);
                flat(y * rows)
            });
        }
    }
}

#[test]
fn rotation() {
    type Way = fn(Tensor<3>, Tensor<2>, Tensor<2>, usize) -> Tensor<3>;
    let ways: [Way; 2] = [evenburn_kernels::rotary, reference::rotary];
    // The last turn a part of each head.
    for (b, t, heads, k, half) in [
        (1, 1, 1, 2, 1),
        (2, 5, 3, 8, 4),
        (3, 65, 2, 34, 17),
        (3, 65, 2, 34, 8),
        (2, 5, 3, 7, 2),
    ] {
        let width = heads * k;
        assert_agree(
            &format!("{b} x {t} x {width}, {half} pairs"),
            &[b * t * width],
            ways,
            |rotary, x| {
                let angles = whole(t * half, [0, 100], &x[0]).float() * 0.1;
                let angles = angles.cast(x[0].dtype()).reshape([t, half]);
                let x = x[0].clone().reshape([b, t, width]);
                flat(rotary(x, angles.clone().cos(), angles.sin(), heads))
            },
        );
    }
}

#[test]
fn gated_unit() {
    type Way = fn(Tensor<1>, Tensor<1>, f64, f64) -> Tensor<1>;
    let ways: [Way; 2] = [evenburn_kernels::swiglu, reference::swiglu];
    for n in [1, 17, 70_001] {
        assert_agree(&format!("{n}"), &[n, n], ways, |swiglu, x| {
            swiglu(x[0].clone(), x[1].clone(), 1.5, 0.7)
        });
    }
}

#[test]
fn loss() {
    type Way = fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, Precision) -> Tensor<1>;
    let ways: [Way; 2] = [
        evenburn_kernels::linear_cross_entropy,
        reference::linear_cross_entropy,
    ];
    for (n, d, v) in [(1, 1, 2), (5, 33, 20), (100, 24, 333)] {
        assert_agree(
            &format!("{n} x {d} x {v}"),
            &[n * d, d * v],
            ways,
            |loss, x| {
                let targets = whole(n, [-2, v as i64], &x[0]);
                let (h, w) = (x[0].clone().reshape([n, d]), x[1].clone().reshape([v, d]));
                loss(h, w.transpose(), targets, Precision::F32)
            },
        );
    }
}

#[test]
fn attention() {
    type Starts = Option<Tensor<2, Int>>;
    type Way = fn(Tensor<3>, Tensor<3>, Tensor<3>, Starts, usize, usize, f64) -> Tensor<3>;
    let ways: [Way; 2] = [
        evenburn_kernels::causal_attention,
        reference::causal_attention,
    ];
    for (b, t, h, g, k, documents) in [
        (1, 3, 1, 1, 4, true),
        (2, 70, 4, 2, 16, true),
        (2, 70, 4, 2, 16, false),
        (1, 140, 2, 1, 32, true),
        // Burn's own gradients of keys and values were wrong here.
        (4, 64, 2, 2, 32, false),
        (4, 32, 2, 2, 32, false),
    ] {
        let name = format!("{b} x {t}, {h} heads on {g}, width {k}, documents {documents}");
        let sizes = [b * t * h * k, b * t * g * k, b * t * g * k];
        assert_agree(&name, &sizes, ways, |attention, x| {
            let starts = whole(b * t, [0, t as i64], &x[0]).reshape([b, t]);
            let q = x[0].clone().reshape([b, t, h * k]);
            let [k, v] = [1, 2].map(|i| x[i].clone().reshape([b, t, g * k]));
            flat(attention(q, k, v, documents.then_some(starts), h, g, 0.3))
        });
    }
}
