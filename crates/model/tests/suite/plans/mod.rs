//! The decisions of every scheme against the formulas of its paper.
//!
//! `D` = 24 model, `H` = 4 query heads, `K` = 10 head, `F` = 40 hidden, `L` = 3 layers.

mod norms;
mod options;
mod residuals;
mod sphere;

use crate::common::config;
use evenburn_geometry::Constraint;
use evenburn_model::function::{Function, Unit};
use evenburn_model::plan::{
    AttentionFactor, Combine, EmbeddingPlan, Form, GainPlan, GainRole, GainShape, HeadPlan, Init,
    LinearPlan, NormPlan, Over, ResidualPlan,
};
use evenburn_model::strategy::{NormStrategy, PreNorm};
use evenburn_model::{Branch, Dims, ExpertsConfig, ModelConfig, Plan, Site};

const D: f64 = 24.0;
const K: f64 = 10.0;
const F: f64 = 40.0;
const LAYERS: usize = 3;
/// Experts behind the router.
const E: usize = 4;

const SITES: [Site; 11] = [
    Site::Embedding,
    Site::Positions,
    Site::Q,
    Site::K,
    Site::V,
    Site::O,
    Site::Router,
    Site::Gate,
    Site::Up,
    Site::Down,
    Site::Head,
];

fn dims() -> Dims {
    let experts = ExpertsConfig {
        count: E,
        ..ExpertsConfig::default()
    };
    let config = ModelConfig {
        experts,
        ..config()
    };
    let plan = Plan::new(&config, &PreNorm::default()).unwrap();
    plan.dims().clone()
}

fn normed(function: impl Into<Function>, eps: f64, role: GainRole) -> NormPlan {
    NormPlan {
        function: function.into(),
        eps,
        over: Over::Full,
        gain: Some(GainPlan {
            shape: GainShape::Vector,
            init: 1.0,
            scale: 1.0,
            form: Form::Direct,
            role,
            decay: false,
        }),
        factor: 1.0,
        bias: None,
    }
}

fn decayed(norm: NormPlan) -> NormPlan {
    NormPlan {
        gain: norm.gain.map(|gain| GainPlan {
            decay: true,
            ..gain
        }),
        ..norm
    }
}

fn per_head(norm: NormPlan) -> NormPlan {
    NormPlan {
        over: Over::PerHead,
        ..norm
    }
}

fn unit() -> NormPlan {
    NormPlan {
        function: Unit {}.into(),
        gain: None,
        ..normed(Unit {}, 0.0, GainRole::Output)
    }
}

/// A learned scale of nGPT or anGPT.
fn learned(init: f64, scale: f64, form: Form) -> GainPlan {
    GainPlan {
        shape: GainShape::Vector,
        init,
        scale,
        form,
        role: GainRole::Output,
        decay: false,
    }
}

fn near(value: f64, expected: f64, what: &str) {
    assert!(
        (value - expected).abs() < 1e-12 * expected.abs(),
        "{what}: {value}, not {expected}"
    );
}

/// Every block and branch has this way of the stream.
fn streams(strategy: &dyn NormStrategy, expected: impl Fn(usize, Branch) -> ResidualPlan) {
    for layer in 0..LAYERS {
        for branch in [Branch::Attention, Branch::Mlp] {
            assert_eq!(
                strategy.residual(layer, branch, &dims()),
                expected(layer, branch),
                "{} block {layer} {branch:?}",
                strategy.name()
            );
        }
    }
}

/// Around each product stands this normalization and nothing else.
fn linear_norms(strategy: &dyn NormStrategy, expected: impl Fn(Site) -> Option<NormPlan>) {
    for site in SITES {
        let linear = LinearPlan {
            norm: expected(site),
            ..LinearPlan::default()
        };
        assert_eq!(
            strategy.linear(1, site, &dims()),
            linear,
            "{} {site}",
            strategy.name()
        );
    }
}

fn qk(norm: &NormPlan) -> impl Fn(Site) -> Option<NormPlan> {
    |site| matches!(site, Site::Q | Site::K).then(|| norm.clone())
}

fn ends(strategy: &dyn NormStrategy, final_norm: Option<NormPlan>) {
    let expected = HeadPlan {
        final_norm,
        ..HeadPlan::plain()
    };
    assert_eq!(strategy.head(&dims()), expected, "{}", strategy.name());
    let plain = EmbeddingPlan::plain();
    assert_eq!(strategy.embedding(&dims()), plain, "{}", strategy.name());
}

/// Free, decaying matrices, normal with this deviation (cut where the second number is given).
fn deviations(strategy: &dyn NormStrategy, expected: impl Fn(usize, Site) -> (f64, Option<f64>)) {
    for layer in 0..LAYERS {
        for site in SITES {
            let plan = strategy.weight(layer, site, &dims());
            let what = format!("{} block {layer} {site}", strategy.name());
            let (std, cut) = match plan.init {
                Init::Normal { std } => (std, None),
                Init::TruncatedNormal { std, cut } => (std, Some(cut)),
                Init::UnitSphere { .. } => panic!("{what}: on the sphere"),
            };
            let (expected, expected_cut) = expected(layer, site);
            near(std, expected, &what);
            assert_eq!(cut, expected_cut, "{what}");
            assert_eq!(plan.constraint, Constraint::Free, "{what}");
            assert!(plan.decay, "{what}");
        }
    }
}

/// The code of SimpleGPT: the embedding 1, what writes or multiplies into the stream 0.02 / sqrt(2 (l + 1)).
fn simple_gpt(layer: usize, site: Site) -> (f64, Option<f64>) {
    match site {
        Site::Embedding => (1.0, None),
        Site::Head => (1.0 / D.sqrt(), Some(3.0)),
        Site::O | Site::Down | Site::Up => (0.02 / (2.0 * (layer as f64 + 1.0)).sqrt(), None),
        _ => (0.02, None),
    }
}

/// GPT-2: 0.02, the maps that write the stream 0.02 / sqrt(2 L).
fn gpt2(_: usize, site: Site) -> (f64, Option<f64>) {
    match site {
        Site::O | Site::Down => (0.02 / 6.0_f64.sqrt(), None),
        _ => (0.02, None),
    }
}

/// Scores divided by sqrt(K), nothing at q and k after the rotation, a plain MLP.
fn plain_branches(strategy: &dyn NormStrategy) {
    let attention = strategy.attention(1, &dims());
    assert_eq!((&attention.qk_norm, &attention.qk_gain), (&None, &None));
    near(attention.softmax_scale, 1.0 / K.sqrt(), strategy.name());
    assert_eq!(attention.factor, AttentionFactor::None);
    let mlp = strategy.mlp(1, &dims());
    near(mlp.before, 1.0, strategy.name());
    near(mlp.after, 1.0, strategy.name());
    assert_eq!(mlp.combine, Combine::Sum);
}

fn input(norm: NormPlan) -> ResidualPlan {
    ResidualPlan {
        input: Some(norm),
        ..ResidualPlan::plain()
    }
}

/// One learned scalar, stored as itself.
fn scalar(init: f64) -> GainPlan {
    GainPlan {
        shape: GainShape::Scalar,
        ..learned(init, init, Form::Direct)
    }
}
