//! What holds for any gradients: constraints after many steps, micro-batches against the whole batch.

use std::collections::BTreeMap;

use crate::common::{
    Numbers, engine, gradients, largest_error, mixed_rules, net, param, rule, tensor, values,
    weights,
};
use burn::module::{Module, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Tensor};
use evenburn_geometry::{Axis, Constraint};
use evenburn_optim::{Adam, Clip, Composition, Engine, Magnitudes, Rule};
use proptest::prelude::*;

#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

const SHAPE: [usize; 2] = [6, 5];
const STEPS: u64 = 10_000;

/// The weights after many steps in single precision.
fn after_many_steps(rule: Rule) -> Vec<f64> {
    let mut numbers = Numbers::new(7);
    let mut model = Matrix {
        weight: param(&mut numbers, SHAPE, DType::F32),
    };
    let rules = BTreeMap::from([("weight".to_owned(), rule)]);
    let mut engine = Engine::new(rules, Clip::All { max: 1.0 });
    for _ in 0..STEPS {
        let mut grads = GradientsParams::new();
        let g = tensor(&numbers.take(30), SHAPE, DType::F32);
        grads.register(model.weight.id, g);
        model = engine.step(model, grads, 1.0).unwrap().0;
    }
    assert_eq!(engine.steps(), STEPS);
    values(model.weight.val())
}

fn norms(w: &[f64], along: Axis) -> Vec<f64> {
    let [rows, columns] = SHAPE;
    let square = |i: usize, j: usize| w[i * columns + j].powi(2);
    match along {
        Axis::In => (0..columns)
            .map(|j| (0..rows).map(|i| square(i, j)).sum::<f64>().sqrt())
            .collect(),
        Axis::Out => (0..rows)
            .map(|i| (0..columns).map(|j| square(i, j)).sum::<f64>().sqrt())
            .collect(),
    }
}

#[test]
fn constraints_hold_after_ten_thousand_steps() {
    let adam = Composition::adam(Adam::default());
    for recipe in [adam, Composition::muon()] {
        for along in [Axis::In, Axis::Out] {
            let of = |constraint| Rule {
                constraint,
                ..rule(recipe, 0.01, 0.0)
            };
            let ball = after_many_steps(of(Constraint::AtMost { along, radius: 1.0 }));
            for norm in norms(&ball, along) {
                assert!(norm <= 1.0 + 1e-6, "{recipe} {along}: {norm}");
            }
            let sphere = after_many_steps(of(Constraint::Unit { along }));
            for norm in norms(&sphere, along) {
                assert!((norm - 1.0).abs() < 1e-6, "{recipe} {along}: {norm}");
            }
        }
    }
}

#[test]
fn spheres_are_kept_for_ten_thousand_steps() {
    let frobenius = |w: &[f64]| w.iter().map(|w| w * w).sum::<f64>().sqrt();
    let first = frobenius(&values(
        param(&mut Numbers::new(7), SHAPE, DType::F32).val(),
    ));
    for recipe in [Composition::adam_h(Adam::default()), Composition::muon_h()] {
        let last = frobenius(&after_many_steps(rule(recipe, 0.01, 0.0)));
        assert!(
            (last / first - 1.0).abs() < 1e-6,
            "{recipe}: {last} {first}"
        );
    }
    // Magnitudes move; what must stay is finite and positive lengths.
    let decoupled = Composition::adam(Adam::default()).decoupled(Magnitudes::default());
    let w = after_many_steps(rule(decoupled, 0.001, 0.0));
    assert!(frobenius(&w).is_finite() && frobenius(&w) > 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Micro-batches of unequal numbers of tokens, each with the sum over its tokens divided by those of the step.
    #[test]
    fn micro_batches_equal_the_whole_batch(
        tokens in prop::collection::vec(1u32..200, 1..=16), seed in 1u64..1000,
    ) {
        let total: u32 = tokens.iter().sum();
        let run = |whole: bool| {
            let mut engine = engine(mixed_rules(Composition::muon()));
            let mut model = net(8, DType::F32);
            for step in 0..3 {
                let part = |k: usize| {
                    let share = f64::from(tokens[k]) / f64::from(total);
                    gradients(&model, seed + 100 * step + k as u64, share)
                };
                let grads = if whole {
                    // The mean over all tokens, computed in double precision.
                    let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
                    for k in 0..tokens.len() {
                        for (path, g) in part(k).1 {
                            let sum = sums.entry(path).or_insert_with(|| vec![0.0; g.len()]);
                            sum.iter_mut().zip(g).for_each(|(sum, g)| *sum += g);
                        }
                    }
                    crate::common::registered(&model, &sums)
                } else {
                    let mut sum = GradientsAccumulator::new();
                    for k in 0..tokens.len() {
                        sum.accumulate(&model, part(k).0);
                    }
                    sum.grads()
                };
                model = engine.step(model, grads, 1.0).unwrap().0;
                // The schedule counts steps, not parts.
                assert_eq!(engine.steps(), step + 1);
            }
            weights(&model)
        };
        let (whole, parts) = (run(true), run(false));
        for (path, w) in &whole {
            let error = largest_error(w, &parts[path]);
            prop_assert!(error < 1e-6, "{path}: {error:e}");
        }
    }
}
