use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both};
use crate::{linear, reference};
use burn::tensor::Tensor;

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
                )
            },
            &move |x| {
                reference::linear(
                    x[0].clone().reshape([n, input]),
                    x[1].clone().reshape([input, output]),
                    factor,
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
                )
            },
            &move |x| {
                let (x, w) = (
                    x[0].clone().reshape([40, n]),
                    x[1].clone().reshape([70, 40]),
                );
                reference::linear(x.transpose(), w.transpose(), 1.0)
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
                linear(x.narrow(1, 3, 30), w.narrow(0, 5, 30).narrow(1, 1, 60), 1.0)
            },
            &move |x| {
                let (x, w) = (
                    x[0].clone().reshape([n, 60]),
                    x[1].clone().reshape([40, 70]),
                );
                reference::linear(x.narrow(1, 3, 30), w.narrow(0, 5, 30).narrow(1, 1, 60), 1.0)
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
            let y = linear(x, w.reshape([7, 4]), 0.5);
            assert_eq!(y.dims(), [2, 3, 5, 4]);
            y
        },
    );
    assert_agree::<4>("linear of a block", &[210, 28], 5e-6, &ways[0], &ways[1]);
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
                linear(rows.of(&x[0]), w.of(&x[1]), factor)
            }),
        }
    });
}
