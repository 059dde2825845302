//! A hundred steps of every recipe beside its reference, on matrices of six shapes.

use std::collections::BTreeMap;

use crate::common::{largest_error, param, rule, tensor, values};
use crate::reference::directions::{
    Adam, Kind, Lion, Momentum, by_head, muon, muon_added, nor_muon, sign,
};
use crate::reference::matrix::{map, muon_quintics, polar_quintics, rows, transposed};
use crate::reference::spaces::{Decoupled, Flat, Sphere, Tangent, rows_at_most_one, rows_one};
use crate::reference::{Reference, Rows};
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{
    AdamMini, Blocks, Clip, Composition, Engine, GradientSpace, Magnitudes, Rule, Scaling,
};

const STEPS: u64 = 100;
/// Matrices, inputs, outputs: tall, wide, square, one row, odd, experts.
const SHAPES: [[usize; 3]; 6] = [
    [1, 8, 24],
    [1, 24, 8],
    [1, 16, 16],
    [1, 12, 1],
    [1, 13, 7],
    [3, 6, 10],
];
const DECAY: f64 = 0.1;

#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Experts {
    weight: Param<Tensor<3>>,
}

/// A number in (-0.5, 0.5) for each step, matrix and place.
fn noise(step: u64, place: usize) -> f64 {
    let mut z = (step * 65_537 + place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

/// Pulls the weights to zero, with noise.
fn gradient(w: &[f64], step: u64) -> Vec<f64> {
    let at = |(place, w): (usize, &f64)| 0.5 * w + noise(step, place);
    w.iter().enumerate().map(at).collect()
}

/// `[N, In, Out]` numbers as matrices `[out, in]`.
fn matrices(values: &[f64], [_, input, output]: [usize; 3]) -> Vec<Rows> {
    values
        .chunks(input * output)
        .map(|one| transposed(&rows(one, output)))
        .collect()
}

fn numbers(matrices: &[Rows]) -> Vec<f64> {
    matrices
        .iter()
        .flat_map(|m| transposed(m).concat())
        .collect()
}

/// The largest difference over the largest value, after all steps.
fn error(
    shape: [usize; 3],
    dtype: DType,
    rule: &Rule,
    reference: &dyn Fn() -> Box<dyn Reference>,
) -> f64 {
    let [n, input, output] = shape;
    let mut engine = Engine::new(
        BTreeMap::from([("weight".to_owned(), rule.clone())]),
        Clip::None,
    );
    let mut seed = crate::common::Numbers::new(input as u64 + 31 * output as u64);
    let (mut matrix, mut experts) = (None, None);
    if n == 1 {
        let weight = param(&mut seed, [input, output], dtype);
        matrix = Some(Matrix { weight });
    } else {
        let weight = param(&mut seed, shape, dtype);
        experts = Some(Experts { weight });
    }
    let now = |matrix: &Option<Matrix>, experts: &Option<Experts>| match (matrix, experts) {
        (Some(m), _) => values(m.weight.val()),
        (None, Some(e)) => values(e.weight.val()),
        (None, None) => unreachable!("one of them is there"),
    };
    let mut expected = matrices(&now(&matrix, &experts), shape);
    let mut references: Vec<_> = (0..n).map(|_| reference()).collect();
    for step in 1..=STEPS {
        let g = gradient(&now(&matrix, &experts), step);
        let mut grads = GradientsParams::new();
        if let Some(m) = matrix.take() {
            grads.register(m.weight.id, tensor(&g, [input, output], dtype));
            matrix = Some(engine.step(m, grads, 1.0).unwrap().0);
        } else if let Some(e) = experts.take() {
            grads.register(e.weight.id, tensor(&g, shape, dtype));
            experts = Some(engine.step(e, grads, 1.0).unwrap().0);
        }
        let g = matrices(&gradient(&numbers(&expected), step), shape);
        for ((w, g), reference) in expected.iter_mut().zip(&g).zip(&mut references) {
            reference.step(w, g, rule.lr, rule.weight_decay);
        }
    }
    let expected = numbers(&expected);
    let largest = expected.iter().fold(0f64, |a, b| a.max(b.abs()));
    largest_error(&now(&matrix, &experts), &expected) / largest
}

fn compare(name: &str, rule: &Rule, reference: &dyn Fn() -> Box<dyn Reference>) {
    for shape in SHAPES {
        compare_on(name, shape, rule, reference);
    }
}

fn compare_on(
    name: &str,
    shape: [usize; 3],
    rule: &Rule,
    reference: &dyn Fn() -> Box<dyn Reference>,
) {
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 1e-4)] {
        let error = error(shape, dtype, rule, reference);
        assert!(error < tolerance, "{name} {shape:?} {dtype:?}: {error:e}");
    }
}

fn adam() -> Adam {
    Adam::new(|i, j| 100 * i + j)
}

fn original(output: f64, input: f64) -> f64 {
    (output / input).max(1.0).sqrt()
}

fn momentum<F>(kind: Kind, beta: f64, then: F) -> Momentum<F> {
    Momentum {
        kind,
        beta,
        m: None,
        then,
    }
}

fn jordan<F>(then: F) -> Momentum<F> {
    momentum(Kind::Jordan, 0.95, then)
}

#[test]
fn adam_and_its_constraints() {
    let recipe = Composition::adam(evenburn_optim::Adam::default());
    compare("adamw", &rule(recipe, 1e-2, DECAY), &|| {
        Box::new(Flat::new(adam()))
    });
    for (name, constraint, then) in [
        (
            "norm-constrained",
            Constraint::AtMost {
                along: Axis::In,
                radius: 1.0,
            },
            rows_at_most_one as fn(&mut Rows),
        ),
        ("unit-norm", Constraint::Unit { along: Axis::In }, rows_one),
    ] {
        let rule = Rule {
            constraint,
            ..rule(recipe, 0.1, 0.0)
        };
        compare(name, &rule, &|| {
            Box::new(Flat {
                inner: adam(),
                then,
            })
        });
    }
    let tangent = Rule {
        update: Composition {
            gradient: GradientSpace::Tangent,
            ..recipe
        }
        .into(),
        constraint: Constraint::Unit { along: Axis::In },
        ..rule(recipe, 0.1, 0.0)
    };
    // The reference sees unit rows from the second step on, as the rule does from the first.
    compare("tangent", &tangent, &|| {
        Box::new(Tangent(Flat {
            inner: adam(),
            then: rows_one,
        }))
    });
}

#[test]
fn adam_mini() {
    type Block = fn(usize, usize) -> usize;
    for (blocks, block) in [
        (Blocks::Tensor, (|_, _| 0) as Block),
        (Blocks::Output, |i, _| i),
        (Blocks::Input, |_, j| j),
    ] {
        let adam = evenburn_optim::Adam::default();
        let recipe = Composition::adam_mini(AdamMini { adam, blocks });
        let name = format!("adam-mini {blocks:?}");
        compare(&name, &rule(recipe, 1e-2, DECAY), &|| {
            Box::new(Flat::new(Adam::new(block)))
        });
    }
    let recipe = Composition::adam_mini(AdamMini {
        adam: evenburn_optim::Adam::default(),
        blocks: Blocks::Heads(4),
    });
    for (shape, block) in [
        ([1, 8, 24], (|i, _| i / 6) as Block),
        ([1, 16, 16], |i, _| i / 4),
    ] {
        let rule = rule(recipe, 1e-2, DECAY);
        compare_on("adam-mini heads", shape, &rule, &|| {
            Box::new(Flat::new(Adam::new(block)))
        });
    }
}

#[test]
fn signs() {
    let lion = Composition::lion(evenburn_optim::Lion::default());
    compare("lion", &rule(lion, 1e-3, DECAY), &|| {
        Box::new(Flat::new(Lion { m: None }))
    });
    let scion = Composition::scion_sign(Scaling::PerInput);
    compare("scion sign", &rule(scion, 1e-2, DECAY), &|| {
        let then = |u: &Rows| {
            let input = u[0].len() as f64;
            map(u, |x| sign(x) / input)
        };
        Box::new(Flat::new(momentum(Kind::Mean, 0.9, then)))
    });
}

#[test]
fn muon_and_its_family() {
    compare("muon", &rule(Composition::muon(), 0.02, DECAY), &|| {
        Box::new(Flat::new(jordan(muon(muon_quintics(), original))))
    });
    compare(
        "moonlight",
        &rule(Composition::moonlight(), 0.01, DECAY),
        &|| {
            let scale = |output: f64, input: f64| 0.2 * output.max(input).sqrt();
            let then = muon_added(muon_quintics(), 1.0, scale);
            Box::new(Flat::new(momentum(Kind::Moonlight, 0.95, then)))
        },
    );
    compare(
        "nor-muon",
        &rule(Composition::nor_muon(), 0.02, DECAY),
        &|| Box::new(Flat::new(jordan(nor_muon(muon_quintics())))),
    );
    compare(
        "polar",
        &rule(Composition::polar_express(), 0.02, DECAY),
        &|| {
            let then = muon_added(polar_quintics(), 1.01, original);
            Box::new(Flat::new(jordan(then)))
        },
    );
    compare(
        "scion",
        &rule(Composition::scion_spectral(), 0.02, DECAY),
        &|| {
            let scale = |output: f64, input: f64| (output / input).sqrt();
            let then = muon_added(muon_quintics(), 1.0, scale);
            Box::new(Flat::new(momentum(Kind::Mean, 0.9, then)))
        },
    );
    let heads = Composition::muon().with_orthogonal(|o| o.heads = 4);
    for shape in [[1, 8, 24], [1, 24, 8], [1, 16, 16]] {
        compare_on("heads", shape, &rule(heads, 0.02, DECAY), &|| {
            Box::new(Flat::new(jordan(by_head(4, muon_quintics()))))
        });
    }
}

#[test]
fn spheres() {
    let adam_h = Composition::adam_h(evenburn_optim::Adam::default());
    compare("adam-h", &rule(adam_h, 0.02, 0.0), &|| {
        Box::new(Sphere {
            inner: adam(),
            radius: None,
        })
    });
    compare("muon-h", &rule(Composition::muon_h(), 0.02, 0.0), &|| {
        Box::new(Sphere {
            inner: jordan(muon(muon_quintics(), original)),
            radius: None,
        })
    });
}

#[test]
fn magnitudes_and_directions() {
    let magnitudes = Magnitudes::default();
    let recipe = Composition::adam(evenburn_optim::Adam::default()).decoupled(magnitudes);
    compare("decoupled adam", &rule(recipe, 0.01, 0.0), &|| {
        Box::new(Decoupled {
            inner: adam(),
            radius: None,
            stored: None,
            adams: [adam(), adam()],
        })
    });
    let recipe = Composition::decoupled_muon().decoupled(magnitudes);
    compare("decoupled muon", &rule(recipe, 0.01, 0.0), &|| {
        let scale = |output: f64, input: f64| (output / input).max(input / output).sqrt();
        Box::new(Decoupled {
            inner: jordan(muon(muon_quintics(), scale)),
            radius: None,
            stored: None,
            adams: [adam(), adam()],
        })
    });
}
