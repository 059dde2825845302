//! A matrix whose scale does not reach the loss is orthogonal to its gradient: `<W, dL/dW> = dL/dc` at `c = 1` of
//! `W -> c W` (2602.01212 for SimpleNorm, where it holds for every matrix of a block).

use super::{dot, length};
use crate::common::{VOCAB, config};
use crate::gradients::{by_path, random_decoder, random_tokens, values};
use burn::tensor::Device;
use evenburn_model::strategy::{
    AnGpt, HybridNorm, Ngpt, NormStrategy, Olmo2, PeriNorm, PreNorm, QkNorm, SimpleNorm,
    Statistics, UnitNorm,
};
use evenburn_model::{ExpertsConfig, ModelConfig, Plan, Site};
use std::collections::BTreeMap;

/// So far below the products' mean squares (1e-5 and more) that the epsilon is lost in rounding.
const NO_EPS: f64 = 1e-18;
const SEEDS: u64 = 3;

/// `<W, dL/dW> / (|W| |dL/dW|)` of every block matrix that tokens went through, by path.
fn cosines(config: &ModelConfig, scheme: &dyn NormStrategy, seed: u64) -> BTreeMap<String, f64> {
    let device = Device::flex().autodiff();
    let plan = Plan::new(config, scheme).unwrap();
    let model = random_decoder(&plan, seed, &device);
    let tokens = |seed| random_tokens([2, 12], VOCAB, seed, &device);
    let loss = model.loss_sum(tokens(seed), tokens(seed + 100));
    let (weights, gradients) = (values(&model), by_path(&model, &loss.backward()));
    plan.params()
        .into_iter()
        .filter(|spec| spec.path.starts_with("blocks.") && spec.shape.len() == 2)
        .filter_map(|spec| {
            let (w, g) = (&weights[&spec.path], &gradients[&spec.path]);
            // An expert that nobody chose has none.
            let size = length(w) * length(g);
            (size > 0.0).then(|| (spec.path, dot(w, g) / size))
        })
        .collect()
}

/// The site of a block matrix.
fn site(path: &str) -> Site {
    let param = evenburn_model::ParamRef::from_path(path).unwrap();
    match param.place {
        evenburn_model::Place::Site(site) => site,
        other => panic!("{path} is at {other:?}"),
    }
}

/// Checks that exactly the matrices at these sites are orthogonal to their gradients.
fn check(config: &ModelConfig, scheme: &dyn NormStrategy, orthogonal: &[Site]) {
    for seed in 0..SEEDS {
        let found = cosines(config, scheme, seed);
        assert!(found.len() >= 3 * 7, "{}", found.len());
        for (path, cosine) in found {
            let at = format!("{}, seed {seed}, {path}: {cosine:e}", scheme.name());
            if orthogonal.contains(&site(&path)) {
                assert!(cosine.abs() < 1e-9, "{at}");
            } else {
                assert!(cosine.abs() > 1e-7, "{at}");
            }
        }
    }
}

fn with_experts() -> ModelConfig {
    ModelConfig {
        experts: ExpertsConfig {
            count: 4,
            shared: 1,
            ..ExpertsConfig::default()
        },
        ..config()
    }
}

#[test]
fn every_block_matrix_of_simple_norm_is() {
    for norm in [Statistics::Rms, Statistics::Layer] {
        let scheme = SimpleNorm {
            norm,
            eps: NO_EPS,
            ..SimpleNorm::default()
        };
        check(&config(), &scheme, &Site::BLOCK);
        // The router makes logits, whose size matters.
        check(&with_experts(), &scheme, &Site::BLOCK);
    }
}

/// With an epsilon, `<z, dL/dz> = <y, dL/dy> eps / (mean(z^2) + eps)` for each product `z` and its normalized `y`:
/// first order in it. The linear branch of the MLP only multiplies, token by token, what `down` normalizes again, so
/// that its `<y, dL/dy>` is itself first order.
#[test]
fn what_an_epsilon_leaves_is_of_its_order() {
    let with = |eps| {
        let scheme = SimpleNorm {
            eps,
            ..SimpleNorm::default()
        };
        cosines(&config(), &scheme, 1)
    };
    let (once, twice) = (with(1e-8), with(2e-8));
    for (path, one) in once {
        let expected = if site(&path) == Site::Up { 4.0 } else { 2.0 };
        let ratio = twice[&path] / one;
        assert!((ratio / expected - 1.0).abs() < 0.02, "{path}: {ratio}");
    }
}

#[test]
fn no_matrix_of_a_llama_is() {
    let scheme = PreNorm {
        qk: QkNorm::None,
        ..PreNorm::default()
    };
    check(&config(), &scheme, &[]);
    check(&with_experts(), &scheme, &[]);
}

/// Wherever a normalization follows with only linear maps between.
#[test]
fn matrices_that_a_norm_follows_are() {
    let eps = NO_EPS;
    // A norm on what a branch writes also forgets the size of v and of the linear branch of the MLP.
    let branches = [Site::V, Site::O, Site::Up, Site::Down];
    let all_but_gate = [Site::Q, Site::K, Site::V, Site::O, Site::Up, Site::Down];
    let schemes: [(&dyn NormStrategy, &[Site]); 8] = [
        (
            &PreNorm {
                eps,
                ..PreNorm::default()
            },
            &[Site::Q, Site::K],
        ),
        (
            &PeriNorm {
                eps,
                ..PeriNorm::default()
            },
            &branches,
        ),
        (
            &PeriNorm {
                eps,
                norm: Statistics::Layer,
                ..PeriNorm::default()
            },
            &branches,
        ),
        (
            &Olmo2 {
                eps,
                ..Olmo2::default()
            },
            &all_but_gate,
        ),
        (
            &HybridNorm {
                eps,
                ..HybridNorm::default()
            },
            &[Site::Q, Site::K, Site::V],
        ),
        (&Ngpt::default(), &all_but_gate),
        (&AnGpt::default(), &all_but_gate),
        (
            &AnGpt {
                branch_norm: UnitNorm::None,
                ..AnGpt::default()
            },
            &[Site::Q, Site::K],
        ),
    ];
    for (scheme, orthogonal) in schemes {
        check(&config(), scheme, orthogonal);
    }
}
