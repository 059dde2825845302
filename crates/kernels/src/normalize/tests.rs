use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both};
use crate::{Size, normalize, reference};
use burn::tensor::{Device, Tensor};

#[test]
fn agrees_with_the_reference() {
    // The last ones take several pieces.
    let cases = [
        (1, 3, 3),
        (5, 3, 1),
        (1, 37, 37),
        (5, 128, 32),
        (33, 60, 20),
        (70, 256, 256),
        (300, 192, 64),
        (19, 2000, 1000),
    ];
    for (rows, channels, group) in cases {
        for size in [Size::Rms, Size::L2] {
            let name = format!("normalize {size:?} {rows} x {channels} by {group}");
            assert_agree::<2>(
                &name,
                &[rows * channels],
                5e-6,
                &move |x| {
                    normalize(
                        x[0].clone().reshape([rows, channels]),
                        None,
                        size,
                        1e-3,
                        group,
                    )
                },
                &move |x| {
                    reference::normalize(
                        x[0].clone().reshape([rows, channels]),
                        None,
                        size,
                        1e-3,
                        group,
                    )
                },
            );
            assert_agree::<3>(
                &format!("{name} with gain"),
                &[rows * channels, group],
                5e-6,
                &move |x| {
                    normalize(
                        x[0].clone().reshape([1, rows, channels]),
                        Some(x[1].clone()),
                        size,
                        1e-3,
                        group,
                    )
                },
                &move |x| {
                    let (x, gain) = (x[0].clone().reshape([1, rows, channels]), x[1].clone());
                    reference::normalize(x, Some(gain), size, 1e-3, group)
                },
            );
        }
    }
}

#[test]
fn takes_strided_inputs() {
    assert_agree::<2>(
        "normalize a transpose with every other gain",
        &[48 * 10, 96],
        5e-6,
        &|x| {
            let gain = x[1].clone().reshape([48, 2]).narrow(1, 1, 1).squeeze_dim(1);
            normalize(
                x[0].clone().reshape([48, 10]).transpose(),
                Some(gain),
                Size::Rms,
                1e-6,
                48,
            )
        },
        &|x| {
            let gain = x[1].clone().reshape([48, 2]).narrow(1, 1, 1).squeeze_dim(1);
            reference::normalize(
                x[0].clone().reshape([48, 10]).transpose(),
                Some(gain),
                Size::Rms,
                1e-6,
                48,
            )
        },
    );
}

#[test]
#[should_panic(expected = "don't split")]
fn a_group_that_does_not_divide_is_refused() {
    let x = burn::tensor::Tensor::<2>::zeros([6, 4], &burn::tensor::Device::flex());
    let _ = normalize(x, None, Size::Rms, 1e-6, 3);
}

#[test]
fn is_safe() {
    // A single number has no direction: but for eps its gradient is what rounding leaves, so groups have three and more.
    assert_safe("normalize", |draw| {
        let (rows, groups, group) = (draw.size(), draw.pick(&[1, 3, 5]), draw.at_least(3));
        let (input, gain) = (draw.input([rows, groups * group]), draw.input([group]));
        let size = draw.pick(&[Size::Rms, Size::L2]);
        let eps = draw.pick(&[1e-6, 1e-3]);
        Trial {
            name: format!("of {input:?} by {gain:?}, {size:?}, eps {eps}"),
            sizes: vec![input.size(), gain.size()],
            terms: (rows * groups).max(group),
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both(
                [normalize::<2>, reference::normalize],
                move |normalize, x| {
                    normalize(input.of(&x[0]), Some(gain.of(&x[1])), size, eps, group)
                },
            ),
        }
    });
    assert_safe("normalize without gain", |draw| {
        let (rows, groups, group) = (draw.size(), draw.pick(&[1, 3, 5]), draw.at_least(3));
        let input = draw.input([rows, groups * group]);
        let size = draw.pick(&[Size::Rms, Size::L2]);
        Trial {
            name: format!("of {input:?} in groups of {group}, {size:?}"),
            sizes: vec![input.size()],
            terms: (rows * groups).max(group),
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both(
                [normalize::<2>, reference::normalize],
                move |normalize, x| normalize(input.of(&x[0]), None, size, 1e-6, group),
            ),
        }
    });
}

#[test]
fn zeros_without_an_epsilon_stay_zeros() {
    let device = Device::flex().autodiff();
    for way in [normalize::<2>, reference::normalize::<2>] {
        for size in [Size::Rms, Size::L2] {
            let x = Tensor::<2>::from_floats([[0.0, 0.0], [3.0, 4.0]], &device).require_grad();
            let gain = Tensor::<1>::from_floats([2.0, 3.0], &device).require_grad();
            let y = way(x.clone(), Some(gain.clone()), size, 0.0, 2);
            let gradients = (y.clone() * y.clone().exp()).sum().backward();
            let numbers = |x: Tensor<2>| -> Vec<f32> { x.into_data().try_to_vec().unwrap() };
            let (y, dx) = (numbers(y), numbers(x.grad(&gradients).unwrap()));
            assert_eq!(
                (&y[..2], &dx[..2]),
                ([0.0; 2].as_slice(), [0.0; 2].as_slice())
            );
            assert!(y[2] > 0.0 && dx.iter().all(|d| d.is_finite()));
            let dgain = gain.grad(&gradients).unwrap();
            let dgain: Vec<f32> = dgain.into_data().try_to_vec().unwrap();
            assert!(dgain.iter().all(|d| d.is_finite()), "{dgain:?}");
        }
    }
}
