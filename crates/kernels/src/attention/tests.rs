use crate::check::{Gradients, Spread, Trial, assert_agree, assert_safe, both, normal};
use crate::{causal_attention, reference};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

#[test]
fn agrees_with_the_reference() {
    let cases = [
        // B, T, H, G, K
        (1, 1, 1, 1, 1),
        (2, 1, 2, 1, 16),
        (1, 5, 3, 3, 20),
        (2, 70, 4, 2, 32),
        (1, 129, 6, 2, 20),
        (1, 300, 2, 1, 64),
        (1, 530, 2, 2, 16),
        (1, 140, 1, 1, 128),
    ];
    for (b, t, h, g, k) in cases {
        let scale = 1.0 / (k as f64).sqrt();
        let split = move |x: &[Tensor<1>]| {
            (
                x[0].clone().reshape([b, t, h * k]),
                x[1].clone().reshape([b, t, g * k]),
                x[2].clone().reshape([b, t, g * k]),
            )
        };
        assert_agree::<3>(
            &format!("attention {b} x {t}, {h} heads on {g}, width {k}"),
            &[b * t * h * k, b * t * g * k, b * t * g * k],
            5e-6,
            &move |x| {
                let (q, k, v) = split(x);
                causal_attention(q, k, v, None, h, g, scale)
            },
            &move |x| {
                let (q, k, v) = split(x);
                reference::causal_attention(q, k, v, None, h, g, scale)
            },
        );
    }
}

#[test]
fn takes_strided_inputs_and_any_scale() {
    let (b, t, h, k) = (2, 33, 2, 24);
    let split = move |x: &[Tensor<1>]| {
        let packed: Tensor<3> = x[0].clone().reshape([b, t, 3 * h * k]);
        let part = |i: usize| packed.clone().narrow(2, i * h * k, h * k);
        (part(0), part(1), part(2))
    };
    assert_agree::<3>(
        "attention on parts of one tensor",
        &[b * t * 3 * h * k],
        5e-6,
        &move |x| {
            let (q, k, v) = split(x);
            causal_attention(q, k, v, None, h, h, -0.3)
        },
        &move |x| {
            let (q, k, v) = split(x);
            reference::causal_attention(q, k, v, None, h, h, -0.3)
        },
    );
}

/// The start of every position's document, for documents of the given lengths over and over in each of `b` sequences,
/// which are cut elsewhere; on the device of `like`.
fn documents(lengths: &[usize], [b, t]: [usize; 2], like: &Tensor<1>) -> Tensor<2, Int> {
    let mut starts = Vec::new();
    for sequence in 0..b {
        let (mut start, mut end, mut next) = (0, 0, lengths.iter().cycle().skip(sequence));
        for place in 0..t {
            if place == end {
                (start, end) = (end, end + next.next().unwrap());
            }
            starts.push(start as i64);
        }
    }
    Tensor::from_data(TensorData::new(starts, [b, t]), &like.device())
}

#[test]
fn agrees_with_the_reference_within_documents() {
    // B, T, H, G, K, lengths
    type Case = (usize, usize, usize, usize, usize, &'static [usize]);
    let cases: [Case; 8] = [
        (1, 1, 1, 1, 1, &[1]),
        (2, 5, 2, 1, 16, &[1, 3]),
        (3, 70, 4, 2, 20, &[7, 1, 30, 2]),
        // A block begins with a document, ends with one, lies in the middle of one, sees several.
        (2, 300, 2, 2, 16, &[128, 127, 3]),
        (1, 400, 4, 1, 12, &[20, 370]),
        (2, 520, 2, 1, 8, &[300]),
        (1, 385, 1, 1, 64, &[5]),
        (1, 257, 3, 3, 7, &[1000]),
    ];
    for (b, t, h, g, k, lengths) in cases {
        let split = move |x: &[Tensor<1>]| {
            (
                x[0].clone().reshape([b, t, h * k]),
                x[1].clone().reshape([b, t, g * k]),
                x[2].clone().reshape([b, t, g * k]),
                Some(documents(lengths, [b, t], &x[0])),
            )
        };
        assert_agree::<3>(
            &format!("attention {b} x {t}, {h} heads on {g}, width {k}, documents {lengths:?}"),
            &[b * t * h * k, b * t * g * k, b * t * g * k],
            5e-6,
            &move |x| {
                let (q, k, v, starts) = split(x);
                causal_attention(q, k, v, starts, h, g, 0.4)
            },
            &move |x| {
                let (q, k, v, starts) = split(x);
                reference::causal_attention(q, k, v, starts, h, g, 0.4)
            },
        );
    }
}

/// The way of the GPUs within documents, from starts before the sequence and behind the query too.
#[cfg(feature = "flex")]
#[test]
fn blocks_agree_with_the_reference() {
    type Case = (usize, usize, usize, usize, usize, &'static [usize]);
    let cases: [Case; 5] = [
        (1, 1, 1, 1, 1, &[1]),
        (3, 70, 4, 2, 20, &[7, 1, 30, 2]),
        (2, 300, 2, 2, 16, &[128, 127, 3]),
        (1, 257, 6, 2, 7, &[1000]),
        (2, 140, 4, 1, 8, &[33]),
    ];
    for (b, t, h, g, k, lengths) in cases {
        let split = move |x: &[Tensor<1>]| {
            let wild = documents(lengths, [b, t], &x[0]) * 3 - 5;
            (
                x[0].clone().reshape([b, t, h * k]),
                x[1].clone().reshape([b, t, g * k]),
                x[2].clone().reshape([b, g * k, t]).swap_dims(1, 2),
                [documents(lengths, [b, t], &x[0]), wild],
            )
        };
        for i in 0..2 {
            let by_reference = move |x: &[Tensor<1>]| {
                let (q, k, v, starts) = split(x);
                reference::causal_attention(q, k, v, Some(starts[i].clone()), h, g, 0.4)
            };
            assert_agree::<3>(
                &format!("attention in blocks {b} x {t}, {h} heads on {g}, documents {lengths:?}"),
                &[b * t * h * k, b * t * g * k, b * t * g * k],
                5e-6,
                &move |x| {
                    if x[0].dtype() == DType::F64 {
                        return by_reference(x);
                    }
                    let (q, k, v, starts) = split(x);
                    let starts = starts[i].clone();
                    crate::check::blocks::causal_attention(q, k, v, starts, [h, g], 0.4)
                },
                &by_reference,
            );
        }
    }
}

#[test]
fn any_start_has_a_meaning() {
    // Before the sequence, behind the query, and falling again.
    let (t, k) = (140, 8);
    let starts = move |given: bool| -> Vec<i64> {
        let wild = |i: i64| [-5, i + 3, i / 2, i, i64::MIN, i64::MAX, 100 - i][i as usize % 7];
        let start = |i: i64| if given { wild(i) } else { wild(i).clamp(0, i) };
        (0..t as i64).map(start).collect()
    };
    let attend = move |x: &[Tensor<1>], given: bool| {
        let [q, k, v] = [0, 1, 2].map(|i| x[i].clone().reshape([1, t, k]));
        let starts = TensorData::new(starts(given), [1, t]);
        let starts = Tensor::from_data(starts, (&q.device(), DType::I64));
        (q, k, v, Some(starts))
    };
    for given in [true, false] {
        assert_agree::<3>(
            "attention from arbitrary starts",
            &[t * k; 3],
            5e-6,
            &move |x| {
                let (q, k, v, starts) = attend(x, given);
                causal_attention(q, k, v, starts, 1, 1, 1.0)
            },
            &move |x| {
                let (q, k, v, starts) = attend(x, false);
                reference::causal_attention(q, k, v, starts, 1, 1, 1.0)
            },
        );
    }
}

#[test]
#[should_panic(expected = "starts [1, 3] for 1 sequences of 2 positions")]
fn a_start_for_each_query_is_required() {
    let x = Tensor::<3>::zeros([1, 2, 6], &Device::flex());
    let starts = Tensor::zeros([1, 3], &Device::flex());
    let _ = causal_attention(x.clone(), x.clone(), x, Some(starts), 3, 3, 1.0);
}

#[test]
#[should_panic(expected = "no multiple")]
fn heads_that_cannot_be_shared_are_refused() {
    let x = Tensor::<3>::zeros([1, 2, 6], &Device::flex());
    let _ = causal_attention(x.clone(), x.clone(), x, None, 3, 2, 1.0);
}

#[test]
fn is_safe() {
    assert_safe("attention", |draw| {
        let (b, t, width) = (
            draw.pick(&[1, 2]),
            draw.size(),
            draw.pick(&[1, 3, 17, 20, 65]),
        );
        let (heads, groups) = draw.pick(&[(1, 1), (3, 1), (3, 3), (6, 2)]);
        let q = draw.input([b, t, heads * width]);
        let [k, v] = [(); 2].map(|()| draw.input([b, t, groups * width]));
        let scale = draw.pick(&[1.0, -1.0]) / (width as f64).sqrt();
        let longest = draw.pick(&[None, Some(3), Some(100)]);
        let lengths: Option<[usize; 7]> =
            longest.map(|longest| std::array::from_fn(|_| 1 + draw.below(longest)));
        let ways = [causal_attention, reference::causal_attention];
        Trial {
            name: format!(
                "of {q:?}, {k:?} and {v:?}, {heads} heads on {groups}, documents {lengths:?}"
            ),
            sizes: vec![q.size(), k.size(), v.size()],
            terms: t * heads / groups,
            gradients: Gradients::Wanted,
            spread: Spread::Own,
            ways: both(ways, move |attention, x| {
                let starts = lengths.map(|lengths| documents(&lengths, [b, t], &x[0]));
                let (q, k, v) = (q.of(&x[0]), k.of(&x[1]), v.of(&x[2]));
                attention(q, k, v, starts, heads, groups, scale)
            }),
        }
    });
}

/// Of the fused way. Two sequences of documents of 100 positions, a NaN or an infinity in one channel of position 150 of the first.
#[cfg(feature = "flex")]
#[test]
fn what_is_not_finite_stays_in_its_head_and_near_its_document() {
    let (b, t, h, g, k) = (2, 400, 4, 2, 8);
    for (leaf, bad) in [
        (0, f64::NAN),
        (1, f64::NAN),
        (1, f64::INFINITY),
        (2, f64::NAN),
        (2, f64::INFINITY),
    ] {
        let tensor = |i: usize, heads: usize| -> Tensor<3> {
            let mut values = normal(b * t * heads * k, i as u64);
            if i == leaf {
                // Its first head.
                values[150 * heads * k + 3] = bad;
            }
            let data = TensorData::new(values, [b, t, heads * k]).convert_dtype(DType::F32);
            Tensor::from_data(data, (&Device::flex(), DType::F32))
        };
        let [q, keys, v] = [(0, h), (1, g), (2, g)].map(|(i, heads)| tensor(i, heads));
        let starts = documents(&[100], [b, t], &q.clone().flatten(0, 2));
        let y = causal_attention(q, keys, v, Some(starts), h, g, 1.0);
        let y: Vec<f32> = y.into_data().try_to_vec().unwrap();
        let finite = |place: usize, head: usize| {
            let row = (place * h + head) * k;
            y[row..row + k].iter().all(|y| y.is_finite())
        };
        // Key heads serve two query heads.
        let reached = if leaf == 0 { 1 } else { h / g };
        for place in 0..b * t {
            for head in 0..h {
                // The blocks of queries that see some key of the document.
                if head >= reached || !(0..256).contains(&place) {
                    assert!(
                        finite(place, head),
                        "{bad} in {leaf} at {place}, head {head}"
                    );
                }
            }
        }
        for place in if leaf == 0 { 150..151 } else { 150..200 } {
            for head in 0..reached {
                // An infinite key may hide: a score of negative infinity has no weight.
                let hidden = leaf == 1 && bad.is_infinite();
                assert!(
                    hidden || !finite(place, head),
                    "{bad} in {leaf} at {place}, head {head}"
                );
            }
        }
    }
}

/// Burn's attention takes a query whose scores are all negative infinity for one that sees nothing, and gives 0. Here
/// each query sees itself, so such scores come from numbers out of range, which NaN shows.
#[cfg(feature = "flex")]
#[test]
fn scores_of_negative_infinity_alone_are_nan() {
    let tensor = |x: f32| Tensor::<3>::from_floats([[[x], [x]]], &Device::flex());
    let y = causal_attention(
        tensor(f32::INFINITY),
        tensor(-1.0),
        tensor(1.0),
        None,
        1,
        1,
        1.0,
    );
    assert!(y.is_nan().all().into_scalar::<bool>());
}
