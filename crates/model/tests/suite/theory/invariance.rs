//! Normalizations don't see the size of what they read; LayerNorm doesn't see a shift either.
//!
//! With an epsilon the statement is exact in this form: `N(c x; eps) = N(x; eps / c^2)`.

use super::Normal;
use crate::common::{distance, numbers};
use burn::tensor::{Device, Tensor};
use evenburn_model::function::{Erf, Function, Layer, Rms, Tanh, Unit};
use evenburn_model::modules::Norm;
use evenburn_model::plan::{GainPlan, GainRole, NormPlan, Over};

const WIDTH: usize = 48;
const HEAD: usize = 12;
const ROWS: usize = 9;
/// Positive multiples over six orders of magnitude.
const SCALES: [f64; 5] = [1e-3, 0.07, 1.5, 42.0, 1e3];

fn statistics() -> [Function; 3] {
    [Rms {}.into(), Unit {}.into(), Layer {}.into()]
}

fn norm(function: &Function, over: Over, eps: f64) -> Norm {
    let plan = NormPlan {
        function: function.clone(),
        eps,
        over,
        gain: Some(GainPlan {
            init: 1.3,
            ..GainPlan::ones(GainRole::Output)
        }),
        factor: 0.7,
        bias: None,
    };
    let norm = plan.init(WIDTH, HEAD, &Device::flex());
    let single = evenburn_model::weights::collect(&norm);
    let double = single
        .into_iter()
        .map(|(path, data)| (path, data.convert::<f64>()));
    evenburn_model::weights::replace(norm, double).unwrap()
}

fn inputs() -> impl Iterator<Item = Tensor<2>> {
    (0..4).map(|seed| Normal::new(seed).tensor([ROWS, WIDTH], 0.8, &Device::flex()))
}

fn gap(a: Tensor<2>, b: Tensor<2>) -> f64 {
    let (a, b) = (numbers(a), numbers(b));
    let largest = b.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    distance(&a, &b) / largest
}

#[test]
fn the_size_of_the_input_does_not_matter() {
    for kind in &statistics() {
        for over in [Over::Full, Over::PerHead] {
            let norm = norm(kind, over, 0.0);
            for x in inputs() {
                let y = norm.forward(x.clone());
                for c in SCALES {
                    let found = gap(norm.forward(x.clone().mul_scalar(c)), y.clone());
                    assert!(found < 1e-13, "{kind:?} {over:?} {c}: {found}");
                }
            }
        }
    }
}

#[test]
fn an_epsilon_is_seen_relative_to_the_input() {
    let eps = 1e-5;
    for kind in &statistics() {
        for x in inputs() {
            let y = norm(kind, Over::Full, eps).forward(x.clone());
            for c in SCALES {
                let scaled = norm(kind, Over::Full, eps).forward(x.clone().mul_scalar(c));
                let equal = norm(kind, Over::Full, eps / (c * c)).forward(x.clone());
                let found = gap(scaled.clone(), equal);
                assert!(found < 1e-13, "{kind:?} {c}: {found}");
                // A mean square of 1e-6 is below the epsilon: there the size shows.
                if c < 0.01 {
                    assert!(gap(scaled, y.clone()) > 0.1, "{kind:?} {c}");
                }
            }
        }
    }
}

#[test]
fn a_shift_matters_to_all_but_layer_norm() {
    for kind in &statistics() {
        for over in [Over::Full, Over::PerHead] {
            let norm = norm(kind, over, 0.0);
            for x in inputs() {
                let moved = norm.forward(x.clone().mul_scalar(2.5).add_scalar(0.9));
                let found = gap(moved, norm.forward(x));
                if kind.is::<Layer>() {
                    assert!(found < 1e-13, "{over:?}: {found}");
                } else {
                    assert!(found > 1e-2, "{kind:?} {over:?}: {found}");
                }
            }
        }
    }
}

/// Each head has a size of its own: only a normalization per head forgets all of them.
#[test]
fn the_size_of_one_head_matters_to_a_normalization_of_all() {
    for x in inputs() {
        let scale: Vec<f64> = (0..WIDTH).map(|i| 1.0 + (i / HEAD) as f64).collect();
        let scale = super::double(scale, [1, WIDTH], &Device::flex());
        for kind in &statistics() {
            let found = |over| {
                let norm = norm(kind, over, 0.0);
                gap(
                    norm.forward(x.clone() * scale.clone()),
                    norm.forward(x.clone()),
                )
            };
            let each = found(Over::PerHead);
            assert!(each < 1e-13, "{kind:?}: {each}");
            assert!(found(Over::Full) > 1e-2, "{kind:?}");
        }
    }
}

#[test]
fn pointwise_functions_are_not_invariant() {
    for kind in &[Tanh { slope: 0.5 }.into(), Erf { slope: 0.5 }.into()] {
        let norm = norm(kind, Over::Full, 0.0);
        for x in inputs() {
            let found = gap(norm.forward(x.clone().mul_scalar(1.5)), norm.forward(x));
            assert!(found > 1e-2, "{kind:?}: {found}");
        }
    }
}
