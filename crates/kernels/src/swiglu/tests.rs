use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both};
use crate::{reference, swiglu};
use burn::tensor::{Device, Tensor};

#[test]
fn agrees_with_the_reference() {
    for (n, f) in [(1, 1), (1, 70), (7, 33), (64, 688), (130, 257)] {
        assert_agree::<2>(
            &format!("swiglu {n} x {f}"),
            &[n * f, n * f],
            2e-6,
            &move |x| {
                let [gate, up] = [&x[0], &x[1]].map(|x| x.clone().reshape([n, f]));
                swiglu(gate * 3.0, up, 1.25, 0.5)
            },
            &move |x| {
                let [gate, up] = [&x[0], &x[1]].map(|x| x.clone().reshape([n, f]));
                reference::swiglu(gate * 3.0, up, 1.25, 0.5)
            },
        );
    }
}

#[test]
fn takes_strided_inputs() {
    assert_agree::<2>(
        "swiglu of a transpose and a part",
        &[40 * 30, 50 * 40],
        2e-6,
        &|x| {
            let gate = x[0].clone().reshape([40, 30]).transpose();
            let up = x[1].clone().reshape([50, 40]).narrow(0, 5, 30);
            swiglu(gate, up, 1.0, 1.0)
        },
        &|x| {
            let gate = x[0].clone().reshape([40, 30]).transpose();
            let up = x[1].clone().reshape([50, 40]).narrow(0, 5, 30);
            reference::swiglu(gate, up, 1.0, 1.0)
        },
    );
}

#[test]
fn nan_stays() {
    let device = Device::flex();
    let gate = Tensor::<1>::from_floats([f32::NAN; 70], &device);
    let y = swiglu(gate.clone(), gate.ones_like(), 1.0, 1.0);
    assert!(y.is_nan().all().into_scalar::<bool>());
}

#[test]
fn is_safe() {
    assert_safe("swiglu", |draw| {
        let shape = [draw.size(), draw.size()];
        let (gate, up) = (draw.input(shape), draw.input(shape));
        let (before, after) = draw.pick(&[(1.0, 1.0), (-0.5, 3.0)]);
        Trial {
            name: format!("of {gate:?} and {up:?}, factors {before} and {after}"),
            sizes: vec![gate.size(), up.size()],
            terms: 1,
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both([swiglu::<2>, reference::swiglu], move |swiglu, x| {
                swiglu(gate.of(&x[0]), up.of(&x[1]), before, after)
            }),
        }
    });
}
