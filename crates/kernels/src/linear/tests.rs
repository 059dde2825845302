#[cfg(feature = "flex")]
use crate::check::normal;
use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both};
use crate::{Precision, linear, reference};
use burn::tensor::Tensor;
#[cfg(feature = "flex")]
use burn::tensor::{DType, Device, FloatDType, TensorData};

#[test]
fn agrees_with_the_reference() {
    for (n, input, output, factor) in [
        (1, 1, 1, 1.0),
        (1, 64, 33, -2.5),
        (7, 20, 5, 1.0),
        (130, 70, 257, 0.3),
        (600, 256, 200, 1.0),
        (65, 300, 1500, 7.0),
    ] {
        assert_agree::<2>(
            &format!("{factor} linear {n} x {input} x {output}"),
            &[n * input, input * output],
            5e-6,
            &move |x| {
                linear(
                    x[0].clone().reshape([n, input]),
                    x[1].clone().reshape([input, output]),
                    factor,
                    Precision::F32,
                )
            },
            &move |x| {
                reference::linear(
                    x[0].clone().reshape([n, input]),
                    x[1].clone().reshape([input, output]),
                    factor,
                    Precision::F32,
                )
            },
        );
    }
}

#[test]
fn takes_strided_inputs() {
    for n in [10, 100] {
        assert_agree::<2>(
            "linear of transposes",
            &[n * 40, 40 * 70],
            5e-6,
            &move |x| {
                linear(
                    x[0].clone().reshape([40, n]).transpose(),
                    x[1].clone().reshape([70, 40]).transpose(),
                    1.0,
                    Precision::F32,
                )
            },
            &move |x| {
                let (x, w) = (
                    x[0].clone().reshape([40, n]),
                    x[1].clone().reshape([70, 40]),
                );
                reference::linear(x.transpose(), w.transpose(), 1.0, Precision::F32)
            },
        );
        assert_agree::<2>(
            "linear with parts of matrices",
            &[n * 60, 40 * 70],
            5e-6,
            &move |x| {
                let (x, w) = (
                    x[0].clone().reshape([n, 60]),
                    x[1].clone().reshape([40, 70]),
                );
                linear(
                    x.narrow(1, 3, 30),
                    w.narrow(0, 5, 30).narrow(1, 1, 60),
                    1.0,
                    Precision::F32,
                )
            },
            &move |x| {
                let (x, w) = (
                    x[0].clone().reshape([n, 60]),
                    x[1].clone().reshape([40, 70]),
                );
                reference::linear(
                    x.narrow(1, 3, 30),
                    w.narrow(0, 5, 30).narrow(1, 1, 60),
                    1.0,
                    Precision::F32,
                )
            },
        );
    }
}

#[test]
fn takes_rows_in_any_shape() {
    let ways = both(
        [linear::<4>, reference::linear::<4>],
        |linear, x: &[Tensor<1>]| {
            let (x, w) = (x[0].clone().reshape([2, 3, 5, 7]), x[1].clone());
            let y = linear(x, w.reshape([7, 4]), 0.5, Precision::F32);
            assert_eq!(y.dims(), [2, 3, 5, 4]);
            y
        },
    );
    assert_agree::<4>("linear of a block", &[210, 28], 5e-6, &ways[0], &ways[1]);
}

#[cfg(feature = "flex")]
/// The same tensor with its numbers rounded to bf16.
fn rounded(x: Tensor<2>) -> Tensor<2> {
    x.cast(FloatDType::BF16).cast(FloatDType::F32)
}

#[cfg(feature = "flex")]
#[test]
fn bf16_rounds_the_factors_of_all_three_products() {
    let device = Device::flex().autodiff();
    let random = |shape: [usize; 2], seed: u64| {
        let data = TensorData::new(normal(shape[0] * shape[1], seed), shape);
        Tensor::<2>::from_data(data.convert_dtype(DType::F32), (&device, DType::F32))
    };
    for [n, input, output] in [[1, 1, 1], [7, 20, 5], [130, 70, 257], [600, 256, 200]] {
        let leaves = [random([n, input], 1), random([output, input], 2)].map(Tensor::require_grad);
        let dy = random([n, output], 3);
        for tied in [false, true] {
            // A transposed view, or a matrix of its own.
            let view = leaves[1].clone().transpose();
            let weight = if tied { view } else { view.mul_scalar(1.0) };
            let y = linear(leaves[0].clone(), weight, -1.5, Precision::Bf16);
            let grads = (y.clone() * dy.clone()).sum().backward();
            let [x, table, dy] =
                [leaves[0].clone(), leaves[1].clone(), dy.clone()].map(|x| rounded(x.inner()));
            let expected = x.clone().matmul(table.clone().transpose()).mul_scalar(-1.5);
            let dx = dy.clone().matmul(table).mul_scalar(-1.5);
            let dw = dy.transpose().matmul(x).mul_scalar(-1.5);
            for (part, found, expected) in [
                ("output", y.inner(), expected),
                ("dx", leaves[0].grad(&grads).unwrap(), dx),
                ("dW", leaves[1].grad(&grads).unwrap(), dw),
            ] {
                let size: f32 = expected.clone().abs().max().into_scalar();
                let error: f32 = (found - expected).abs().max().into_scalar();
                assert!(
                    error < 5e-6 * size,
                    "{part} of {n} x {input} x {output} is off by {error} of {size}"
                );
            }
        }
    }
}

#[test]
fn bf16_agrees_with_the_reference() {
    for (n, input, output, factor) in [(1, 1, 1, 1.0), (7, 20, 5, -2.5), (130, 70, 257, 0.3)] {
        let ways = both([linear, reference::linear], move |linear, x| {
            let (x, w) = (x[0].clone(), x[1].clone());
            let (x, w) = (x.reshape([n, input]), w.reshape([input, output]));
            linear(x, w, factor, Precision::Bf16)
        });
        // The reference rounds the results as well, and in the backward pass what it multiplied by the factor before:
        // 2^-9 each.
        assert_agree::<2>(
            &format!("{factor} linear {n} x {input} x {output} in bf16"),
            &[n * input, input * output],
            1e-2,
            &ways[0],
            &ways[1],
        );
    }
}

#[test]
fn is_safe() {
    assert_safe("linear", |draw| {
        let [n, input, output] = [(); 3].map(|()| draw.size());
        let factor = draw.pick(&[1.0, 0.5, -3.0]);
        let (rows, w) = (draw.input([n, input]), draw.input([input, output]));
        Trial {
            name: format!("of {rows:?} and {w:?}, times {factor}"),
            sizes: vec![rows.size(), w.size()],
            terms: n.max(input).max(output),
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both([linear, reference::linear], move |linear, x| {
                linear(rows.of(&x[0]), w.of(&x[1]), factor, Precision::F32)
            }),
        }
    });
}
