//! Muon, compared with plain loops, and its scale by role.

use std::collections::BTreeMap;

use crate::common::{
    Net, Numbers, engine, gradients, largest_error, mixed_rules, net, norm, rule, tensor, values,
    weights,
};
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use evenburn_optim::{Adjust, Engine, Muon, NormFloor, Recipe, orthogonalize};
use proptest::prelude::*;

#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

/// A matrix as rows.
type Rows = Vec<Vec<f64>>;

fn product(a: &Rows, b: &Rows) -> Rows {
    let entry = |row: &Vec<f64>, j: usize| row.iter().zip(b).map(|(x, r)| x * r[j]).sum();
    let row = |row| (0..b[0].len()).map(|j| entry(row, j)).collect();
    a.iter().map(row).collect()
}

fn transposed(a: &Rows) -> Rows {
    (0..a[0].len())
        .map(|j| a.iter().map(|row| row[j]).collect())
        .collect()
}

fn rows(values: &[f64], columns: usize) -> Rows {
    values.chunks(columns).map(<[f64]>::to_vec).collect()
}

/// Newton–Schulz on an `[out, in]` matrix, step by step as `muon.py` has it.
fn newton_schulz(g: &Rows, eps: f64, floor: NormFloor) -> Rows {
    let (a, b, c) = (3.4445, -4.7750, 2.0315);
    let tall = g.len() > g[0].len();
    let mut x = if tall { transposed(g) } else { g.clone() };
    let norm = x.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
    let norm = match floor {
        NormFloor::Clamp => norm.max(eps),
        NormFloor::Add => norm + eps,
    };
    x.iter_mut().flatten().for_each(|x| *x /= norm);
    for _ in 0..5 {
        let gram = product(&x, &transposed(&x));
        let gram2 = product(&gram, &gram);
        let mut poly = gram;
        for (p, q) in poly.iter_mut().flatten().zip(gram2.iter().flatten()) {
            *p = b * *p + c * q;
        }
        let odd = product(&poly, &x);
        for (x, o) in x.iter_mut().flatten().zip(odd.iter().flatten()) {
            *x = a * *x + o;
        }
    }
    if tall { transposed(&x) } else { x }
}

/// One step of `torch.optim.Muon` on an `[out, in]` matrix.
fn reference_step(w: &mut Rows, m: &mut Rows, g: &Rows, lr: f64, wd: f64, muon: Muon) {
    let (output, input) = (w.len() as f64, w[0].len() as f64);
    let mut u = g.clone();
    for i in 0..w.len() {
        for j in 0..w[0].len() {
            m[i][j] += (1.0 - muon.momentum) * (g[i][j] - m[i][j]);
            u[i][j] = if muon.nesterov {
                g[i][j] + muon.momentum * (m[i][j] - g[i][j])
            } else {
                m[i][j]
            };
        }
    }
    let u = newton_schulz(&u, muon.eps, muon.floor);
    let adjust = match muon.adjust {
        Adjust::Original => (output / input).max(1.0).sqrt(),
        Adjust::MatchRmsAdamw => 0.2 * output.max(input).sqrt(),
    };
    for i in 0..w.len() {
        for j in 0..w[0].len() {
            w[i][j] = (1.0 - lr * wd) * w[i][j] - lr * adjust * u[i][j];
        }
    }
}

fn error_after_steps(shape: [usize; 2], dtype: DType, muon: Muon) -> f64 {
    let [input, output] = shape;
    let mut numbers = Numbers::new((input * 100 + output) as u64);
    let mut model = Matrix {
        weight: crate::common::param(&mut numbers, shape, dtype),
    };
    let rules = BTreeMap::from([("weight".to_owned(), rule(Recipe::Muon(muon), 0.02, 0.1))]);
    let mut engine = Engine::new(rules, Some(0.5));
    let mut w = transposed(&rows(&values(model.weight.val()), output));
    let mut m = vec![vec![0.0; input]; output];
    for step in 0..6 {
        let (grads, g) = gradients(&model, step, 1.0);
        let clip = (0.5 / (norm(&g) + 1e-6)).min(1.0);
        let scaled: Vec<f64> = g["weight"].iter().map(|g| g * clip).collect();
        let g = transposed(&rows(&scaled, output));
        reference_step(&mut w, &mut m, &g, 0.01, 0.1, muon);
        model = engine.step(model, grads, 0.5).unwrap().0;
    }
    largest_error(&values(model.weight.val()), &transposed(&w).concat())
}

#[test]
fn equals_the_loops_on_wide_tall_and_square_matrices() {
    let mut variants = vec![Muon::default()];
    for adjust in [Adjust::Original, Adjust::MatchRmsAdamw] {
        for floor in [NormFloor::Clamp, NormFloor::Add] {
            // An epsilon that shows.
            variants.push(Muon {
                adjust,
                floor,
                eps: 0.3,
                nesterov: adjust == Adjust::Original,
                ..Muon::default()
            });
        }
    }
    for shape in [[3, 8], [8, 3], [5, 5], [1, 4]] {
        for muon in &variants {
            let error = error_after_steps(shape, DType::F64, *muon);
            assert!(error < 1e-12, "{shape:?} {muon:?}: {error:e}");
            let error = error_after_steps(shape, DType::F32, *muon);
            assert!(error < 1e-4, "{shape:?} {muon:?}: {error:e}");
        }
    }
}

/// The size of an update, against that of its transposed weight with the transposed gradient.
#[test]
fn the_scale_follows_the_roles_not_the_dimensions() {
    let update = |shape: [usize; 2], transpose: bool| {
        let g = tensor(&Numbers::new(5).take(32), [4, 8], DType::F64);
        let g = if transpose { g.transpose() } else { g };
        assert_eq!(g.dims(), shape);
        let model = Matrix {
            weight: Param::from_tensor(Tensor::zeros(shape, (&g.device(), DType::F64))),
        };
        let recipe = Recipe::Muon(Muon::default());
        let rules = BTreeMap::from([("weight".to_owned(), rule(recipe, 1.0, 0.0))]);
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, g);
        let (model, _) = Engine::new(rules, None).step(model, grads, 1.0).unwrap();
        let squares = values(model.weight.val().square());
        squares.iter().sum::<f64>().sqrt()
    };
    // 4 inputs to 8 outputs: sqrt(out / in) = sqrt(2). 8 inputs to 4 outputs: 1.
    let (up, down) = (update([4, 8], false), update([8, 4], true));
    assert!((up / down - 2f64.sqrt()).abs() < 1e-12, "{up} {down}");
}

#[test]
fn a_batch_of_matrices_equals_each_alone() {
    let muon = Muon::default();
    let mut together = engine(mixed_rules(muon));
    let model = net(11, DType::F64);
    let (grads, g) = gradients(&model, 1, 1.0);
    let clip = (1.0 / (norm(&g) + 1e-6)).min(1.0);
    let before = weights(&model);
    let (model, _) = together.step(model, grads, 1.0).unwrap();
    let after = weights(&model);

    let alone = |w: &[f64], g: &[f64], shape: [usize; 2]| {
        let u: Vec<f64> = g.iter().map(|g| g * clip).collect();
        let (w, mut m) = (rows(w, shape[1]), vec![vec![0.0; shape[0]]; shape[1]]);
        let mut w = transposed(&w);
        let g = transposed(&rows(&u, shape[1]));
        reference_step(&mut w, &mut m, &g, 0.02, 0.1, muon);
        transposed(&w).concat()
    };
    for block in 0..2 {
        for (name, shape) in [("up", [4, 6]), ("down", [6, 4])] {
            let path = format!("blocks.{block}.{name}.weight");
            let expected = alone(&before[&path], &g[&path], shape);
            assert!(largest_error(&after[&path], &expected) < 1e-12, "{path}");
        }
    }
    for expert in 0..3 {
        let part = expert * 24..(expert + 1) * 24;
        let expected = alone(
            &before["experts"][part.clone()],
            &g["experts"][part.clone()],
            [4, 6],
        );
        assert!(largest_error(&after["experts"][part], &expected) < 1e-12);
    }
}

#[test]
fn the_order_of_parameters_changes_nothing() {
    let step = |swap: bool| {
        let mut engine = engine(mixed_rules(Muon::default()));
        let mut model = net(13, DType::F32);
        if swap {
            let Net {
                embed,
                mut blocks,
                experts,
                head,
            } = model;
            blocks.reverse();
            model = Net {
                embed,
                blocks,
                experts,
                head,
            };
        }
        for seed in 0..3 {
            // Gradients follow the values, not the places.
            let place = if swap { [1, 0] } else { [0, 1] };
            let mut grads = GradientsParams::new();
            let numbers = &mut Numbers::new(seed + 1);
            for i in place {
                let block = &model.blocks[i];
                let g = |n: usize, numbers: &mut Numbers| numbers.take(n);
                grads.register(
                    block.up.weight.id,
                    tensor(&g(24, numbers), [4, 6], DType::F32),
                );
                grads.register(
                    block.down.weight.id,
                    tensor(&g(24, numbers), [6, 4], DType::F32),
                );
                grads.register(block.gain.id, tensor(&g(4, numbers), [4], DType::F32));
            }
            let Some(head) = &model.head else {
                unreachable!("the net has a head")
            };
            grads.register(
                head.weight.id,
                tensor(&numbers.take(28), [4, 7], DType::F32),
            );
            grads.register(
                model.embed.weight.id,
                tensor(&numbers.take(28), [7, 4], DType::F32),
            );
            grads.register(
                model.experts.id,
                tensor(&numbers.take(72), [3, 4, 6], DType::F32),
            );
            // Without clipping, whose norm sums in visiting order.
            engine = Engine::new(engine.rules().clone(), None);
            model = engine.step(model, grads, 1.0).unwrap().0;
        }
        weights(&model)
    };
    let (plain, swapped) = (step(false), step(true));
    for (path, w) in &plain {
        let other = match path.split_once('.') {
            Some(("blocks", rest)) if rest.starts_with('0') => path.replace(".0.", ".1."),
            Some(("blocks", _)) => path.replace(".1.", ".0."),
            _ => path.clone(),
        };
        assert_eq!(w, &swapped[&other], "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn orthogonalization_equals_the_loops(
        r in 1usize..6, c in 1usize..6, seed in 1u64..1000, add in any::<bool>(),
    ) {
        let floor = if add { NormFloor::Add } else { NormFloor::Clamp };
        let g = Numbers::new(seed).take(2 * r * c);
        let found = values(orthogonalize(tensor(&g, [2, r, c], DType::F64), 5, 1e-7, floor));
        let expected: Vec<f64> = g
            .chunks(r * c)
            .flat_map(|g| newton_schulz(&rows(g, c), 1e-7, floor).concat())
            .collect();
        prop_assert!(largest_error(&found, &expected) < 1e-12);
    }
}

#[test]
fn a_gradient_of_zeros_stays_finite() {
    for floor in [NormFloor::Clamp, NormFloor::Add] {
        let zeros = tensor(&[0.0; 12], [1, 3, 4], DType::F32);
        assert_eq!(values(orthogonalize(zeros, 5, 1e-7, floor)), [0.0; 12]);
    }
}
