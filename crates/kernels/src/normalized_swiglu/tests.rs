use super::Normalization;
use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both};
use crate::{Size, normalized_swiglu, reference};
#[cfg(feature = "flex")]
use crate::{check::singles, normalize, swiglu};
use burn::tensor::Tensor;
#[cfg(feature = "flex")]
use burn::tensor::{Device, TensorData};

fn normalization(gain: Option<Tensor<1>>, size: Size, group: usize) -> Normalization {
    Normalization {
        gain,
        size,
        eps: 1e-3,
        group,
    }
}

#[test]
fn agrees_with_the_reference() {
    // Groups of gate and up may differ; the last ones take several pieces.
    let cases = [
        (1, 3, [3, 3]),
        (7, 33, [33, 11]),
        (64, 688, [688, 688]),
        (130, 258, [6, 258]),
        (3, 20_000, [20_000, 5_000]),
    ];
    for (rows, f, groups) in cases {
        for gains in [false, true] {
            let sizes = [rows * f, rows * f, groups[0], groups[1]];
            let ways = both(
                [normalized_swiglu::<2>, reference::normalized_swiglu],
                move |way, x: &[Tensor<1>]| {
                    let branch = |i: usize, size| {
                        let gain = gains.then(|| x[2 + i].clone());
                        (
                            x[i].clone().reshape([rows, f]),
                            normalization(gain, size, groups[i]),
                        )
                    };
                    way([branch(0, Size::Rms), branch(1, Size::L2)], 1.25, 0.5)
                },
            );
            assert_agree::<2>(
                &format!("normalized_swiglu {rows} x {f} by {groups:?}, gains {gains}"),
                &sizes[..if gains { 4 } else { 2 }],
                5e-6,
                &ways[0],
                &ways[1],
            );
        }
    }
}

/// It computes what its two parts do, in the same order.
#[cfg(feature = "flex")]
#[test]
fn is_its_parts_bit_for_bit() {
    let device = Device::flex().autodiff();
    for [rows, f] in [[1, 1], [5, 37], [70, 688], [3, 20_000]] {
        let leaf = |n: usize, shape: &[usize], seed: u64| {
            TensorData::new(singles(n, seed), shape.to_vec())
        };
        let run = |fused: bool| {
            let branches = [1, 2].map(|seed| {
                let data = leaf(rows * f, &[rows, f], seed);
                Tensor::<2>::from_data(data, &device).require_grad()
            });
            let gains = [3, 4]
                .map(|seed| Tensor::<1>::from_data(leaf(f, &[f], seed), &device).require_grad());
            let [gate, up] = branches.clone();
            let [of_gate, of_up] = gains.clone();
            let y = if fused {
                let [of_gate, of_up] =
                    [of_gate, of_up].map(|gain| normalization(Some(gain), Size::Rms, f));
                normalized_swiglu([(gate, of_gate), (up, of_up)], 1.5, 0.5)
            } else {
                let gate = normalize(gate, Some(of_gate), Size::Rms, 1e-3, f);
                let up = normalize(up, Some(of_up), Size::Rms, 1e-3, f);
                swiglu(gate, up, 1.5, 0.5)
            };
            let weights = Tensor::<2>::from_data(leaf(rows * f, &[rows, f], 5), &device);
            let grads = (y.clone() * weights).sum().backward();
            let branches = branches.map(|x| x.grad(&grads).expect("tracked").into_data());
            let gains = gains.map(|x| x.grad(&grads).expect("tracked").into_data());
            (y.into_data(), branches, gains)
        };
        assert!(run(true) == run(false), "{rows} x {f}");
    }
}

#[test]
#[should_panic(expected = "don't split")]
fn a_group_that_does_not_divide_is_refused() {
    let x = Tensor::<2>::zeros([6, 4], &burn::tensor::Device::flex());
    let by = |group| (x.clone(), normalization(None, Size::Rms, group));
    let _ = normalized_swiglu([by(4), by(3)], 1.0, 1.0);
}

#[test]
fn is_safe() {
    // As in the tests of `normalize`, groups have three channels and more.
    assert_safe("normalized_swiglu", |draw| {
        let (rows, groups, group) = (draw.size(), draw.pick(&[1, 3, 5]), draw.at_least(3));
        let width = groups * group;
        let (gate, up) = (draw.input([rows, width]), draw.input([rows, width]));
        let (of_gate, of_up) = (draw.input([group]), draw.input([width]));
        let (before, after) = draw.pick(&[(1.0, 1.0), (-0.5, 3.0)]);
        Trial {
            name: format!("of {gate:?} by {of_gate:?} and {up:?} by {of_up:?}"),
            sizes: vec![gate.size(), up.size(), of_gate.size(), of_up.size()],
            terms: (rows * groups).max(width),
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both(
                [normalized_swiglu::<2>, reference::normalized_swiglu],
                move |way, x| {
                    let gains = [of_gate.of(&x[2]), of_up.of(&x[3])].map(Some);
                    let [of_gate, of_up] = gains;
                    let gate = (gate.of(&x[0]), normalization(of_gate, Size::Rms, group));
                    let up = (up.of(&x[1]), normalization(of_up, Size::L2, width));
                    way([gate, up], before, after)
                },
            ),
        }
    });
}
