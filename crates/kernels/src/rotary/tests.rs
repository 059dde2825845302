use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both, normal};
use crate::{reference, rotary};
use burn::tensor::{DType, Tensor, TensorData};

/// Cosines and sines of arbitrary angles, on the device of `like` and in its number format.
fn tables(positions: usize, pairs: usize, like: &Tensor<1>) -> (Tensor<2>, Tensor<2>) {
    let table = |f: fn(f64) -> f64| {
        let angles = normal(positions * pairs, 3);
        let values: Vec<f32> = angles.into_iter().map(|x| f(x) as f32).collect();
        let data = TensorData::new(values, [positions, pairs]).convert_dtype(like.dtype());
        Tensor::from_data(data, (&like.device(), like.dtype()))
    };
    (table(f64::cos), table(f64::sin))
}

#[test]
fn agrees_with_the_reference() {
    // Shared and separate positions, whole heads and parts of them; the last two take several pieces.
    let cases = [
        (1, 1, 1, 2, 1, 1),
        (2, 5, 3, 20, 10, 5),
        (2, 5, 3, 20, 10, 10),
        (3, 33, 2, 16, 8, 33),
        (2, 5, 3, 20, 2, 10),
        (1, 4, 2, 7, 2, 4),
        (2, 300, 4, 64, 32, 300),
        (2, 300, 4, 64, 16, 300),
    ];
    for (b, t, heads, k, pairs, positions) in cases {
        assert_agree::<3>(
            &format!(
                "rotary {b} x {t}, {pairs} pairs of {heads} heads of {k}, {positions} positions"
            ),
            &[b * t * heads * k],
            2e-6,
            &move |x| {
                let (cos, sin) = tables(positions, pairs, &x[0]);
                rotary(x[0].clone().reshape([b, t, heads * k]), cos, sin, heads)
            },
            &move |x| {
                let (cos, sin) = tables(positions, pairs, &x[0]);
                reference::rotary(x[0].clone().reshape([b, t, heads * k]), cos, sin, heads)
            },
        );
    }
}

#[test]
fn turns_a_fresh_tensor_and_takes_strided_ones() {
    let (b, t, heads, k) = (2, 40, 2, 32);
    // Computed just before and held by nobody else, or a view.
    for (fresh, pairs) in [(true, k / 2), (false, k / 2), (true, 6), (false, 6)] {
        let prepare = move |x: &Tensor<1>| -> Tensor<3> {
            if fresh {
                x.clone().reshape([b, t, heads * k]) * 2.0
            } else {
                x.clone().reshape([b, heads * k, t]).swap_dims(1, 2)
            }
        };
        assert_agree::<3>(
            &format!("rotary of {pairs} pairs of a fresh tensor: {fresh}"),
            &[b * t * heads * k],
            2e-6,
            &move |x| {
                let (cos, sin) = tables(t + 3, pairs, &x[0]);
                let (cos, sin) = (cos.narrow(0, 3, t), sin.narrow(0, 3, t));
                rotary(prepare(&x[0]), cos, sin, heads)
            },
            &move |x| {
                let (cos, sin) = tables(t + 3, pairs, &x[0]);
                let (cos, sin) = (cos.narrow(0, 3, t), sin.narrow(0, 3, t));
                reference::rotary(prepare(&x[0]), cos, sin, heads)
            },
        );
    }
}

/// Each number by its formula: the reference is made of the same pieces as what it stands beside.
#[test]
fn the_reference_turns_the_first_pairs_of_each_head() {
    let (b, t, heads, k, pairs) = (2, 3, 2, 8, 3);
    let x = normal(b * t * heads * k, 1);
    let device = burn::tensor::Device::flex();
    let data = TensorData::new(x.clone(), [b * t * heads * k]).convert_dtype(DType::F64);
    let leaf: Tensor<1> = Tensor::from_data(data, (&device, DType::F64));
    let (cos, sin) = tables(t, pairs, &leaf);
    let y = reference::rotary(
        leaf.reshape([b, t, heads * k]),
        cos.clone(),
        sin.clone(),
        heads,
    );
    let numbers = |x: Tensor<2>| -> Vec<f64> { x.into_data().iter::<f64>().collect() };
    let (cos, sin) = (numbers(cos), numbers(sin));
    for (i, found) in y.into_data().iter::<f64>().enumerate() {
        let (position, channel) = (i / (heads * k) % t, i % k);
        let (pair, second) = (channel / 2, channel % 2 == 1);
        let at = position * pairs + pair;
        let expected = match (pair < pairs, second) {
            (false, _) => x[i],
            (true, false) => x[i] * cos[at] - x[i + 1] * sin[at],
            (true, true) => x[i - 1] * sin[at] + x[i] * cos[at],
        };
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} for {expected} at {i}"
        );
    }
}

#[test]
fn a_tensor_in_use_elsewhere_stays() {
    let device = burn::tensor::Device::flex();
    let x = Tensor::<3>::ones([1, 3, 4], &device);
    let (cos, sin) = (
        Tensor::<2>::zeros([3, 2], &device),
        Tensor::<2>::ones([3, 2], &device),
    );
    let y = rotary(x.clone(), cos, sin, 1);
    assert!((x - 1.0).abs().max().into_scalar::<f32>() < f32::EPSILON);
    assert!(
        (y.slice([0..1, 0..1, 0..1]) + 1.0)
            .abs()
            .max()
            .into_scalar::<f32>()
            < 1e-6
    );
}

#[test]
fn is_safe() {
    assert_safe("rotary", |draw| {
        let (b, t, heads) = (draw.pick(&[1, 2, 5]), draw.size(), draw.pick(&[1, 3, 5]));
        let pairs = draw.pick(&[1, 3, 17, 33]);
        let rest = draw.pick(&[0, 0, 1, 6]);
        let positions = draw.pick(&[t, b * t]);
        let input = draw.input([b, t, heads * (2 * pairs + rest)]);
        Trial {
            name: format!("of {input:?}, {pairs} pairs of {heads} heads, {positions} positions"),
            sizes: vec![input.size()],
            terms: 1,
            gradients: Gradients::Wanted,
            spread: Spread::AsReference,
            ways: both([rotary, reference::rotary], move |rotary, x| {
                let (cos, sin) = tables(positions, pairs, &x[0]);
                rotary(input.of(&x[0]), cos, sin, heads)
            }),
        }
    });
}
