use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both, integers};
use crate::{Precision, linear_cross_entropy, reference};
use burn::tensor::{DType, Device, Int, Tensor};

/// Targets from -3 on: some are ignored. On the device of `like`.
fn targets(n: usize, v: usize, like: &Tensor<1>) -> Tensor<1, Int> {
    integers(n, -3.min(v as i64), v as i64, 5, &like.device())
}

#[test]
fn agrees_with_the_reference() {
    // The last two take several chunks; the second of them because of its vocabulary.
    for (n, d, v) in [
        (1, 1, 2),
        (1, 8, 70),
        (5, 33, 20),
        (100, 24, 333),
        (600, 32, 100),
        (430, 4, 40_000),
    ] {
        assert_agree::<1>(
            &format!("linear cross-entropy {n} x {d} x {v}"),
            &[n * d, d * v],
            5e-6,
            &move |x| {
                let (h, w) = (x[0].clone().reshape([n, d]), x[1].clone().reshape([d, v]));
                linear_cross_entropy(h, w, targets(n, v, &x[0]), Precision::F32)
            },
            &move |x| {
                let (h, w) = (x[0].clone().reshape([n, d]), x[1].clone().reshape([d, v]));
                reference::linear_cross_entropy(h, w, targets(n, v, &x[0]), Precision::F32)
            },
        );
    }
}

#[test]
fn bf16_agrees_with_the_reference() {
    for (n, d, v) in [(1, 1, 2), (5, 33, 20), (600, 32, 100)] {
        let ways = both(
            [linear_cross_entropy, reference::linear_cross_entropy],
            move |loss, x| {
                let (h, w) = (x[0].clone().reshape([n, d]), x[1].clone().reshape([d, v]));
                loss(h, w, targets(n, v, &x[0]), Precision::Bf16)
            },
        );
        // In the backward pass the reference rounds the gradients and not those of the logits: by 2^-9 at most.
        assert_agree::<1>(
            &format!("linear cross-entropy {n} x {d} x {v} in bf16"),
            &[n * d, d * v],
            4e-3,
            &ways[0],
            &ways[1],
        );
    }
}

#[test]
fn takes_a_tied_table_and_strided_inputs() {
    let (n, d, v) = (150, 24, 200);
    assert_agree::<1>(
        "linear cross-entropy of a transposed table",
        &[n * d, d * v],
        5e-6,
        &move |x| {
            let (h, w) = (x[0].clone().reshape([d, n]), x[1].clone().reshape([v, d]));
            linear_cross_entropy(
                h.transpose(),
                w.transpose(),
                targets(n, v, &x[0]),
                Precision::F32,
            )
        },
        &move |x| {
            let (h, w) = (x[0].clone().reshape([d, n]), x[1].clone().reshape([v, d]));
            reference::linear_cross_entropy(
                h.transpose(),
                w.transpose(),
                targets(n, v, &x[0]),
                Precision::F32,
            )
        },
    );
}

/// The way of the GPUs in single precision, and the reference in double.
#[cfg(feature = "flex")]
fn in_blocks(h: Tensor<2>, w: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    match h.dtype() {
        DType::F64 => reference::linear_cross_entropy(h, w, targets, Precision::F32),
        _ => crate::check::blocks::linear_cross_entropy(h, w, targets),
    }
}

#[cfg(feature = "flex")]
#[test]
fn blocks_agree_with_the_reference() {
    // One block, a block a row, several blocks.
    for (n, d, v) in [(1, 1, 2), (5, 33, 20), (6, 8, 5000), (100, 24, 333)] {
        let split = move |x: &[Tensor<1>]| {
            let (h, w) = (x[0].clone().reshape([n, d]), x[1].clone().reshape([v, d]));
            (h, w.transpose(), targets(n, v, &x[0]))
        };
        assert_agree::<1>(
            &format!("linear cross-entropy in blocks {n} x {d} x {v}"),
            &[n * d, d * v],
            5e-6,
            &move |x| {
                let (h, w, targets) = split(x);
                in_blocks(h, w, targets)
            },
            &move |x| {
                let (h, w, targets) = split(x);
                reference::linear_cross_entropy(h, w, targets, Precision::F32)
            },
        );
    }
}

#[cfg(feature = "flex")]
#[test]
fn blocks_ignore_what_does_not_count() {
    let device = Device::flex().autodiff();
    let h = Tensor::<2>::from_floats([[1.0], [f32::NAN]], &device).require_grad();
    let w = Tensor::<2>::from_floats([[1.0, 0.5]], &device);
    let loss = in_blocks(h.clone(), w, Tensor::from_ints([0, -1], &device));
    let grads = loss.clone().backward();
    assert!(loss.into_scalar::<f32>().is_finite());
    assert!(
        h.grad(&grads)
            .unwrap()
            .is_finite()
            .all()
            .into_scalar::<bool>()
    );
}

#[test]
fn nothing_to_count_is_zero() {
    let device = Device::flex().autodiff();
    let h = Tensor::<2>::ones([3, 4], &device).require_grad();
    let w = Tensor::<2>::ones([4, 5], &device);
    let targets = Tensor::<1, Int>::from_ints([-1, -1, -7], &device);
    let loss = linear_cross_entropy(h.clone(), w, targets, Precision::F32);
    let grads = loss.clone().backward();
    assert!(loss.into_scalar::<f32>().abs() < f32::EPSILON);
    let gradient = h.grad(&grads).unwrap();
    assert!(gradient.abs().max().into_scalar::<f32>().abs() < f32::EPSILON);
}

#[test]
fn nan_stays() {
    let device = Device::flex();
    let h = Tensor::<2>::from_floats([[1.0], [f32::NAN]], &device);
    let w = Tensor::<2>::ones([1, 70], &device);
    let loss = linear_cross_entropy(h, w, Tensor::from_ints([0, 1], &device), Precision::F32);
    assert!(loss.into_scalar::<f32>().is_nan());
}

#[test]
fn is_safe() {
    assert_safe("linear cross-entropy", |draw| {
        let [n, d] = [(); 2].map(|()| draw.size());
        let v = draw.size() + 1;
        let (rows, w) = (draw.input([n, d]), draw.input([d, v]));
        let ways = [linear_cross_entropy, reference::linear_cross_entropy];
        Trial {
            name: format!("of {rows:?} and {w:?}"),
            sizes: vec![rows.size(), w.size()],
            terms: n.max(d),
            gradients: Gradients::Wanted,
            spread: Spread::Less,
            ways: both(ways, move |loss, x| {
                loss(
                    rows.of(&x[0]),
                    w.of(&x[1]),
                    targets(n, v, &x[0]),
                    Precision::F32,
                )
            }),
        }
    });
}

#[test]
fn infinity_shows_where_it_counts() {
    let device = Device::flex();
    for infinity in [f32::INFINITY, f32::NEG_INFINITY] {
        let h = Tensor::<2>::from_floats([[1.0], [infinity]], &device);
        let w = Tensor::<2>::from_floats([[1.0, -2.0, 0.5]], &device);
        let loss = |targets: [i32; 2]| -> f32 {
            let targets = Tensor::from_ints(targets, &device);
            linear_cross_entropy(h.clone(), w.clone(), targets, Precision::F32).into_scalar()
        };
        assert!(loss([0, -1]).is_finite());
        for target in 0..3 {
            assert!(!loss([0, target]).is_finite());
        }
    }
}

#[test]
fn without_rows_there_is_no_loss() {
    let device = Device::flex().autodiff();
    let hidden = Tensor::<2>::zeros([0, 3], &device);
    let weight = Tensor::<2>::ones([3, 5], &device).require_grad();
    let targets = Tensor::<1, Int>::zeros([0], &device);
    let loss = linear_cross_entropy(hidden, weight.clone(), targets, Precision::F32);
    let gradients = loss.backward();
    let zeros = weight.grad(&gradients).unwrap();
    assert_eq!(zeros.into_data().try_to_vec::<f32>().unwrap(), [0.0; 15]);
    assert_eq!(loss.into_data().try_to_vec::<f32>().unwrap(), [0.0]);
}
