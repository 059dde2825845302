use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both};
use crate::{interpolate, reference};
use burn::tensor::Tensor;

#[test]
fn agrees_with_the_reference() {
    for (n, d) in [(1, 1), (1, 70), (9, 33), (300, 256), (5, 20_000)] {
        let split = move |x: &[Tensor<1>]| {
            let [h, y] = [&x[0], &x[1]].map(|x| x.clone().reshape([1, n, d]));
            (h, y, x[2].clone(), x[3].clone())
        };
        assert_agree::<3>(
            &format!("interpolate {n} x {d}"),
            &[n * d, n * d, d, d],
            5e-6,
            &move |x| {
                let (h, x, keep, step) = split(x);
                interpolate(h, x, keep, step)
            },
            &move |x| {
                let (h, x, keep, step) = split(x);
                reference::interpolate(h, x, keep, step)
            },
        );
    }
}

#[test]
fn takes_strided_inputs() {
    let split = |x: &[Tensor<1>]| {
        let h: Tensor<2> = x[0].clone().reshape([24, 30]).transpose();
        let y: Tensor<2> = x[1].clone().reshape([40, 24]).narrow(0, 4, 30);
        (
            h,
            y,
            x[2].clone().narrow(0, 5, 24),
            x[2].clone().narrow(0, 0, 24),
        )
    };
    assert_agree::<2>(
        "interpolate views",
        &[24 * 30, 40 * 24, 30],
        5e-6,
        &move |x| {
            let (h, x, keep, step) = split(x);
            interpolate(h, x, keep, step)
        },
        &move |x| {
            let (h, x, keep, step) = split(x);
            reference::interpolate(h, x, keep, step)
        },
    );
}

#[test]
fn is_safe() {
    assert_safe("interpolate", |draw| {
        let shape = [draw.pick(&[1, 3]), draw.size(), draw.size()];
        let [h, y] = [(); 2].map(|()| draw.input(shape));
        let [keep, step] = [(); 2].map(|()| draw.input([shape[2]]));
        Trial {
            name: format!("of {h:?}, {y:?}, {keep:?} and {step:?}"),
            sizes: vec![h.size(), y.size(), keep.size(), step.size()],
            terms: shape[0] * shape[1],
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both(
                [interpolate::<3>, reference::interpolate],
                move |interpolate, x| {
                    interpolate(h.of(&x[0]), y.of(&x[1]), keep.of(&x[2]), step.of(&x[3]))
                },
            ),
        }
    });
}
