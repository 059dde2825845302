use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both};
use crate::{linear, reference};

#[test]
fn agrees_with_the_reference() {
    for (n, input, output) in [
        (1, 1, 1),
        (1, 64, 33),
        (7, 20, 5),
        (130, 70, 257),
        (600, 256, 200),
        (65, 300, 1500),
    ] {
        assert_agree::<2>(
            &format!("linear {n} x {input} x {output}"),
            &[n * input, input * output],
            5e-6,
            &move |x| {
                linear(
                    x[0].clone().reshape([n, input]),
                    x[1].clone().reshape([input, output]),
                )
            },
            &move |x| {
                reference::linear(
                    x[0].clone().reshape([n, input]),
                    x[1].clone().reshape([input, output]),
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
                )
            },
            &move |x| {
                let (x, w) = (
                    x[0].clone().reshape([40, n]),
                    x[1].clone().reshape([70, 40]),
                );
                reference::linear(x.transpose(), w.transpose())
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
                linear(x.narrow(1, 3, 30), w.narrow(0, 5, 30).narrow(1, 1, 60))
            },
            &move |x| {
                let (x, w) = (
                    x[0].clone().reshape([n, 60]),
                    x[1].clone().reshape([40, 70]),
                );
                reference::linear(x.narrow(1, 3, 30), w.narrow(0, 5, 30).narrow(1, 1, 60))
            },
        );
    }
}

#[test]
fn is_safe() {
    assert_safe("linear", |draw| {
        let [n, input, output] = [(); 3].map(|()| draw.size());
        let (rows, w) = (draw.input([n, input]), draw.input([input, output]));
        Trial {
            name: format!("of {rows:?} and {w:?}"),
            sizes: vec![rows.size(), w.size()],
            terms: n.max(input).max(output),
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both([linear, reference::linear], move |linear, x| {
                linear(rows.of(&x[0]), w.of(&x[1]))
            }),
        }
    });
}
