//! The projections, compared with plain loops in `f64` on weights of every rank.

use burn::tensor::{DType, Device, Tensor, TensorData};
use evenburn_geometry::{Axis, Constraint, GeometryError, l2_norm_along, project};
use proptest::prelude::*;

const E: usize = 2;
const IN: usize = 3;
const OUT: usize = 5;

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], dtype: DType) -> Tensor<D> {
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
    Tensor::from_data(data, (&Device::flex(), dtype))
}

fn values<const D: usize>(w: Tensor<D>) -> Vec<f64> {
    w.into_data()
        .convert::<f64>()
        .try_to_vec()
        .expect("the data was just made f64")
}

/// The slices of an `[e, i, o]` weight along an axis, as index lists.
fn slices([e, i, o]: [usize; 3], along: Axis) -> Vec<Vec<usize>> {
    let index = |a, b, c| (a * i + b) * o + c;
    let mut slices = Vec::new();
    for a in 0..e {
        match along {
            Axis::In => {
                slices.extend((0..o).map(|c| (0..i).map(|b| index(a, b, c)).collect::<Vec<_>>()));
            }
            Axis::Out => {
                slices.extend((0..i).map(|b| (0..o).map(|c| index(a, b, c)).collect::<Vec<_>>()));
            }
        }
    }
    slices
}

fn norm(w: &[f64], slice: &[usize]) -> f64 {
    slice.iter().map(|&i| w[i] * w[i]).sum::<f64>().sqrt()
}

fn reference(w: &[f64], shape: [usize; 3], c: Constraint) -> Vec<f64> {
    let (groups, factor): (_, Box<dyn Fn(f64) -> f64>) = match c {
        Constraint::Free => return w.to_vec(),
        Constraint::Unit { along } => (slices(shape, along), Box::new(|n| 1.0 / n)),
        Constraint::AtMost { along, radius } => (
            slices(shape, along),
            Box::new(move |n| 1.0 / f64::max(1.0, n / radius)),
        ),
        Constraint::Frobenius { radius } => {
            let n = shape[1] * shape[2];
            let matrices = (0..shape[0]).map(|e| (e * n..(e + 1) * n).collect());
            (matrices.collect(), Box::new(move |n| radius / n))
        }
    };
    let mut out = w.to_vec();
    for slice in groups {
        let n = norm(w, &slice);
        if n > 0.0 {
            for i in slice {
                out[i] = w[i] * factor(n);
            }
        }
    }
    out
}

fn constraints() -> Vec<Constraint> {
    let mut all = vec![
        Constraint::Free,
        Constraint::Frobenius { radius: 0.7 },
        Constraint::Frobenius { radius: 3.0 },
    ];
    for along in [Axis::In, Axis::Out] {
        all.push(Constraint::Unit { along });
        all.push(Constraint::AtMost { along, radius: 1.0 });
        all.push(Constraint::AtMost { along, radius: 2.5 });
    }
    all
}

fn largest_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_the_loops_and_is_idempotent(w in prop::collection::vec(-3.0..3.0f64, E * IN * OUT)) {
        for c in constraints() {
            for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
                let once = project(tensor(&w, [E, IN, OUT], dtype), c);
                prop_assert_eq!(once.dtype(), dtype);
                let twice = values(project(once.clone(), c));
                let once = values(once);
                prop_assert!(largest_error(&once, &reference(&w, [E, IN, OUT], c)) < tolerance);
                prop_assert!(largest_error(&once, &twice) < tolerance);

                let matrix = &w[..IN * OUT];
                let projected = values(project(tensor(matrix, [IN, OUT], dtype), c));
                let expected = reference(matrix, [1, IN, OUT], c);
                prop_assert!(largest_error(&projected, &expected) < tolerance);
            }
        }
    }

    #[test]
    fn vectors_have_only_the_output_axis(w in prop::collection::vec(-3.0..3.0f64, OUT)) {
        for c in constraints() {
            let projected = values(project(tensor(&w, [OUT], DType::F64), c));
            let expected = match c {
                Constraint::Unit { along: Axis::In } | Constraint::AtMost { along: Axis::In, .. } => w.clone(),
                _ => reference(&w, [1, 1, OUT], c),
            };
            prop_assert!(largest_error(&projected, &expected) < 1e-14);
        }
    }
}

#[test]
fn norms_keep_the_axis_they_ran_over() {
    let w = tensor(&[3.0, 0.0, 5.0, 4.0, 2.0, 12.0], [2, 3], DType::F64);
    let along_in = l2_norm_along(w.clone(), Axis::In);
    assert_eq!(along_in.dims(), [1, 3]);
    assert_eq!(values(along_in), [5.0, 2.0, 13.0]);
    let along_out = l2_norm_along(w, Axis::Out);
    assert_eq!(along_out.dims(), [2, 1]);
    assert!(largest_error(&values(along_out), &[34f64.sqrt(), 164f64.sqrt()]) < 1e-14);

    let vector = tensor(&[3.0, -4.0], [2], DType::F64);
    assert_eq!(values(l2_norm_along(vector.clone(), Axis::Out)), [5.0]);
    assert_eq!(values(l2_norm_along(vector, Axis::In)), [3.0, 4.0]);
}

#[test]
fn a_slice_of_zeros_stays_zero() {
    let w = [0.0, 0.0, 0.0, 3.0, 0.0, 4.0];
    for dtype in [DType::F32, DType::F64] {
        let unit = Constraint::Unit { along: Axis::Out };
        let projected = values(project(tensor(&w, [2, 3], dtype), unit));
        assert!(largest_error(&projected, &[0.0, 0.0, 0.0, 0.6, 0.0, 0.8]) < 1e-7);
        for c in constraints() {
            let projected = values(project(tensor(&[0.0; 6], [2, 3], dtype), c));
            assert_eq!(projected, [0.0; 6], "{c} in {dtype:?}");
        }
    }
}

#[test]
fn rows_inside_the_ball_are_untouched_bit_by_bit() {
    let w = [0.1, -0.7, 0.3, 0.25, 0.5, -0.125];
    let c = Constraint::AtMost {
        along: Axis::In,
        radius: 1.0,
    };
    assert_eq!(values(project(tensor(&w, [2, 3], DType::F64), c)), w);
}

#[test]
fn impossible_constraints_are_errors() {
    let along_in = Constraint::Unit { along: Axis::In };
    assert_eq!(
        along_in.check(1),
        Err(GeometryError::MissingAxis {
            along: Axis::In,
            rank: 1
        })
    );
    assert!(along_in.check(2).is_ok());
    assert!(Constraint::Unit { along: Axis::Out }.check(0).is_err());
    assert!(Constraint::Free.check(0).is_ok());
    for radius in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Constraint::Frobenius { radius }.check(2).is_err());
        let at_most = Constraint::AtMost {
            along: Axis::Out,
            radius,
        };
        assert!(at_most.check(2).is_err());
    }
}

#[test]
fn constraints_are_plain_data() {
    for c in constraints() {
        let text = serde_json::to_string(&c).unwrap();
        assert_eq!(serde_json::from_str::<Constraint>(&text).unwrap(), c);
    }
    let at_most = Constraint::AtMost {
        along: Axis::In,
        radius: 1.0,
    };
    assert_eq!(
        serde_json::to_string(&at_most).unwrap(),
        r#"{"kind":"at_most","along":"in","radius":1.0}"#
    );
    assert_eq!(at_most.to_string(), "|w| <= 1 along in");
}
