//! The decisions of every scheme against the formulas of its paper.
//!
//! `D` = 24 model, `H` = 4 query heads, `K` = 10 head, `F` = 40 hidden, `L` = 3 layers.

use crate::common::config;
use evenburn_geometry::{Axis, Constraint};
use evenburn_model::function::{Erf, Function, Layer, Rms, Tanh, Unit};
use evenburn_model::plan::{
    AttentionFactor, BiasPlan, Combine, CompanionPlan, EmbeddingPlan, Form, GainPlan, GainRole,
    GainShape, HeadPlan, Init, JoinPlan, LerpFactor, LinearPlan, MixPlan, NormPlan, Normed, Over,
    ResidualPlan,
};
use evenburn_model::rule::Geodesic;
use evenburn_model::strategy::{
    AnGpt, AngleDecay, Bias, Decay, DeepNorm, Derf, DyT, EmbedNorm, EmbedScalar, EmbedScale,
    FactorScales, FinalNorm, FirstBlock, FirstLayer, GainForm, GateScale, GeoNorm, HeadNorm,
    HybridNorm, Keel, LnScaling, Ngpt, NormStrategy, Olmo2, PeriNorm, PostNorm, PreNorm, QkNorm,
    ResidualFactor, RouterNorm, RowNorm, SiameseNorm, SimpleNorm, SoftmaxGain, Statistics, Streams,
    UnitNorm, WeightInit,
};
use evenburn_model::{
    Branch, Dims, ExpertsConfig, MlpKind, ModelConfig, Plan, Positions, Registry, Site,
};

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

#[test]
fn strategies_and_registry_agree_on_names() {
    let registry = Registry::default();
    for (name, scheme) in registry.names().zip(registry.schemes()) {
        assert_eq!(scheme.strategy().unwrap().name(), name);
    }
}

/// The words that an option takes, by its schema.
fn words(option: &serde_json::Value) -> Vec<&str> {
    let any = option["anyOf"].as_array().into_iter().flatten();
    any.chain([option])
        .flat_map(|schema| {
            let each = schema["oneOf"].as_array().into_iter().flatten();
            let listed = schema["enum"].as_array().into_iter().flatten();
            each.map(|one| &one["const"]).chain(listed)
        })
        .filter_map(serde_json::Value::as_str)
        .collect()
}

#[test]
fn every_word_of_every_option_makes_a_plan_of_its_own() {
    let registry = Registry::default();
    let mixture = ModelConfig {
        experts: ExpertsConfig {
            count: 4,
            ..ExpertsConfig::default()
        },
        ..ModelConfig::default()
    };
    let schema = registry.schema().to_value();
    let mut seen = 0;
    for scheme in schema["oneOf"].as_array().unwrap() {
        let options = scheme["properties"].as_object().unwrap();
        let name = options["scheme"]["const"].as_str().unwrap();
        for (option, about) in options {
            let plans = words(about).into_iter().filter_map(|word| {
                let table = format!("scheme = \"{name}\"\n{option} = \"{word}\"");
                let scheme = registry.read(table.parse().unwrap()).unwrap();
                let plan = scheme.plan(&mixture).ok()?;
                let options = toml::Table::new();
                Some((word, Plan { options, ..plan }))
            });
            let plans: Vec<_> = plans.collect();
            seen += plans.len();
            for (n, (word, plan)) in plans.iter().enumerate() {
                for (other, same) in &plans[..n] {
                    assert_ne!(plan, same, "{name}: {option} = {other} and {word}");
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn a_strategy_that_decides_nothing_is_pre_norm() {
    #[derive(Debug)]
    struct Nothing;
    impl NormStrategy for Nothing {
        fn name(&self) -> &'static str {
            "nothing"
        }
    }
    let norm = normed(Rms {}, 1e-5, GainRole::Input);
    streams(&Nothing, |_, _| input(norm.clone()));
    linear_norms(&Nothing, |_| None);
    ends(&Nothing, Some(norm));
    plain_branches(&Nothing);
    deviations(&Nothing, |_, _| (0.02, None));
}

#[test]
fn pre_norm_reads_a_normalized_stream() {
    let rms = |role| normed(Rms {}, 1e-5, role);
    let gpt_plus = PreNorm::default();
    streams(&gpt_plus, |_, _| input(rms(GainRole::Input)));
    linear_norms(&gpt_plus, qk(&per_head(rms(GainRole::Output))));
    ends(&gpt_plus, Some(rms(GainRole::Input)));
    plain_branches(&gpt_plus);
    deviations(&gpt_plus, simple_gpt);

    let gpt2_plan = PreNorm {
        qk: QkNorm::None,
        norm: Statistics::Layer,
        bias: Bias::Learned,
        start: WeightInit::Gpt2,
        decay: Decay::All,
        ..PreNorm::default()
    };
    let layer_norm = NormPlan {
        bias: Some(BiasPlan { decay: true }),
        ..decayed(normed(Layer {}, 1e-5, GainRole::Input))
    };
    streams(&gpt2_plan, |_, _| input(layer_norm.clone()));
    linear_norms(&gpt2_plan, |_| None);
    ends(&gpt2_plan, Some(layer_norm));
    deviations(&gpt2_plan, gpt2);

    let full = PreNorm {
        qk: QkNorm::Full,
        ..PreNorm::default()
    };
    linear_norms(&full, qk(&rms(GainRole::Output)));
}

#[test]
fn post_norm_normalizes_the_sum() {
    let layer = normed(Layer {}, 1e-5, GainRole::Output);
    let scheme = PostNorm::default();
    streams(&scheme, |_, _| ResidualPlan {
        after: Some(layer.clone()),
        ..ResidualPlan::plain()
    });
    ends(&scheme, None);
    plain_branches(&scheme);
    deviations(&scheme, gpt2);
    let full = PostNorm {
        qk: QkNorm::Full,
        ..PostNorm::default()
    };
    linear_norms(&scheme, |_| None);
    linear_norms(&full, qk(&layer));
}

#[test]
fn peri_norm_stands_on_both_sides_of_a_branch() {
    let rms = |role| normed(Rms {}, 1e-5, role);
    let scheme = PeriNorm::default();
    streams(&scheme, |_, _| ResidualPlan {
        input: Some(rms(GainRole::Input)),
        output: Some(rms(GainRole::Output)),
        ..ResidualPlan::plain()
    });
    let expected = EmbeddingPlan {
        norm: Some(rms(GainRole::Output)),
        ..EmbeddingPlan::plain()
    };
    assert_eq!(scheme.embedding(&dims()), expected);
    let expected = HeadPlan {
        final_norm: Some(rms(GainRole::Input)),
        ..HeadPlan::plain()
    };
    assert_eq!(scheme.head(&dims()), expected);
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);

    let gemma = PeriNorm {
        qk: QkNorm::Head,
        embed_norm: EmbedNorm::None,
        embed_scale: EmbedScale::SqrtDim,
        gain: GainForm::OnePlus,
        ..PeriNorm::default()
    };
    let one_plus = |role| NormPlan {
        gain: rms(role).gain.map(|gain| GainPlan {
            form: Form::OnePlus,
            ..gain
        }),
        ..rms(role)
    };
    linear_norms(&scheme, |_| None);
    linear_norms(&gemma, qk(&per_head(one_plus(GainRole::Output))));
    let expected = EmbeddingPlan {
        factor: D.sqrt(),
        ..EmbeddingPlan::plain()
    };
    assert_eq!(gemma.embedding(&dims()), expected);
    let expected = HeadPlan {
        final_norm: Some(one_plus(GainRole::Input)),
        ..HeadPlan::plain()
    };
    assert_eq!(gemma.head(&dims()), expected);
}

#[test]
fn olmo2_normalizes_what_a_branch_writes() {
    let rms = |role| normed(Rms {}, 1e-6, role);
    let scheme = Olmo2::default();
    streams(&scheme, |_, _| ResidualPlan {
        output: Some(rms(GainRole::Output)),
        ..ResidualPlan::plain()
    });
    linear_norms(&scheme, qk(&rms(GainRole::Output)));
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
}

#[test]
fn hybrid_norm_normalizes_q_k_v_and_the_stream_before_the_mlp() {
    let rms = |role| decayed(normed(Rms {}, 1e-5, role));
    let rest = |branch| match branch {
        Branch::Attention => ResidualPlan::plain(),
        Branch::Mlp => ResidualPlan {
            stream: Some(rms(GainRole::Output)),
            ..ResidualPlan::plain()
        },
    };
    let scheme = HybridNorm::default();
    streams(&scheme, |_, branch| rest(branch));
    linear_norms(&scheme, |site| match site {
        Site::Q | Site::K => Some(per_head(rms(GainRole::Output))),
        Site::V => Some(per_head(rms(GainRole::Input))),
        _ => None,
    });
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
    let star = HybridNorm {
        first: FirstLayer::PreNorm,
        ..HybridNorm::default()
    };
    streams(&star, |layer, branch| match layer {
        0 => input(rms(GainRole::Input)),
        _ => rest(branch),
    });
}

#[test]
fn geo_norm_turns_by_angles_that_shrink() {
    for (decay, factors) in [
        (AngleDecay::Harmonic, [1.0, 1.0 / 2.0, 1.0 / 3.0]),
        (
            AngleDecay::Sqrt,
            [1.0, 2.0_f64.sqrt().recip(), 3.0_f64.sqrt().recip()],
        ),
        (AngleDecay::Linear, [1.0, 2.0 / 3.0, 1.0 / 3.0]),
    ] {
        let scheme = GeoNorm {
            decay,
            ..GeoNorm::default()
        };
        streams(&scheme, |layer, _| {
            let factor = factors[layer];
            let clamp = std::f64::consts::FRAC_PI_4;
            ResidualPlan {
                mix: MixPlan::Rule {
                    rule: Geodesic { factor, clamp }.into(),
                },
                ..ResidualPlan::plain()
            }
        });
        linear_norms(&scheme, |_| None);
        ends(&scheme, None);
        plain_branches(&scheme);
        deviations(&scheme, simple_gpt);
    }
    let plan = Plan::new(&config(), &GeoNorm::default()).unwrap();
    let own: Vec<_> = plan
        .params()
        .into_iter()
        .filter(|spec| spec.path.contains("mix"))
        .map(|spec| (spec.path, spec.shape, spec.decay))
        .collect();
    assert_eq!(own.len(), 2 * 2 * LAYERS);
    let scale = "blocks.0.attn_residual.mix.rule.scale".to_owned();
    assert_eq!(own[0], (scale, vec![1], false));

    let normed_ends = GeoNorm {
        embed_norm: EmbedNorm::Normalized,
        final_norm: FinalNorm::Rms,
        ..GeoNorm::default()
    };
    let expected = EmbeddingPlan {
        norm: Some(normed(Rms {}, 1e-5, GainRole::Output)),
        ..EmbeddingPlan::plain()
    };
    assert_eq!(normed_ends.embedding(&dims()), expected);
    let expected = HeadPlan {
        final_norm: Some(normed(Rms {}, 1e-5, GainRole::Input)),
        ..HeadPlan::plain()
    };
    assert_eq!(normed_ends.head(&dims()), expected);
    for clamp in [0.0, -1.0, 4.0, f64::NAN] {
        let scheme = GeoNorm {
            clamp,
            ..GeoNorm::default()
        };
        let refused = Plan::new(&config(), &scheme).unwrap_err().to_string();
        assert!(refused.contains("a largest angle"), "{refused}");
    }
}

#[test]
fn siamese_norm_reads_two_streams() {
    let rms = |role| normed(Rms {}, 1e-5, role);
    let beside = |layer: usize| CompanionPlan {
        scale: None,
        norm: Some(rms(GainRole::Output)),
        factor: [0.5_f64, 0.25, 1.0 / 6.0][layer].sqrt(),
    };
    let post_pre = |layer| ResidualPlan {
        stream: Some(rms(GainRole::Output)),
        companion: Some(beside(layer)),
        input: Some(rms(GainRole::Input)),
        ..ResidualPlan::plain()
    };
    let near_factor = |mut plan: ResidualPlan, layer| {
        if let Some(companion) = &mut plan.companion {
            near(companion.factor, beside(layer).factor, "factor");
            companion.factor = beside(layer).factor;
        }
        plan
    };
    let expected = HeadPlan {
        join: Some(JoinPlan {
            stream: Some(rms(GainRole::Output)),
            companion: Some(rms(GainRole::Output)),
        }),
        final_norm: Some(rms(GainRole::Input)),
        ..HeadPlan::plain()
    };
    let scheme = SiameseNorm::default();
    let hybrid = SiameseNorm {
        streams: Streams::HybridPre,
        ..SiameseNorm::default()
    };
    for layer in 0..LAYERS {
        for branch in [Branch::Attention, Branch::Mlp] {
            let found = near_factor(scheme.residual(layer, branch, &dims()), layer);
            assert_eq!(found, post_pre(layer));
            let found = near_factor(hybrid.residual(layer, branch, &dims()), layer);
            let attention = ResidualPlan {
                companion: Some(CompanionPlan {
                    scale: Some(learned(1.0, 1.0, Form::Direct)),
                    ..beside(layer)
                }),
                ..ResidualPlan::plain()
            };
            match branch {
                Branch::Attention => assert_eq!(found, attention),
                Branch::Mlp => assert_eq!(found, post_pre(layer)),
            }
        }
    }
    for scheme in [&scheme, &hybrid] {
        assert_eq!(scheme.embedding(&dims()), EmbeddingPlan::plain());
        assert_eq!(scheme.head(&dims()), expected);
        plain_branches(scheme);
        deviations(scheme, simple_gpt);
    }
    linear_norms(&scheme, |_| None);
    linear_norms(&hybrid, |site| match site {
        Site::Q | Site::K => Some(per_head(rms(GainRole::Output))),
        Site::V => Some(per_head(rms(GainRole::Input))),
        _ => None,
    });
}

/// A plan without a second component says nothing of one.
#[test]
fn plans_of_one_component_do_not_mention_another() {
    for scheme in Registry::default().schemes() {
        let plan = scheme.plan(&config()).unwrap();
        let text = serde_json::to_string(&plan).unwrap();
        let two = text.contains("companion") && text.contains("join");
        assert_eq!(two, scheme.name() == "siamese_norm", "{text}");
    }
}

#[test]
fn deep_norm_has_its_two_constants() {
    let scheme = DeepNorm::default();
    let layer = normed(Layer {}, 1e-5, GainRole::Output);
    // (2 L)^(1/4) and (8 L)^(-1/4).
    let (alpha, beta) = (6.0_f64.sqrt().sqrt(), 1.0 / 24.0_f64.sqrt().sqrt());
    for branch in [Branch::Attention, Branch::Mlp] {
        let plan = scheme.residual(2, branch, &dims());
        let MixPlan::Scaled { skip } = plan.mix else {
            panic!("the skip connection has no factor: {plan:?}");
        };
        near(skip, alpha, "skip");
        let rest = ResidualPlan {
            mix: MixPlan::Add,
            ..plan
        };
        let expected = ResidualPlan {
            after: Some(layer.clone()),
            ..ResidualPlan::plain()
        };
        assert_eq!(rest, expected);
    }
    linear_norms(&scheme, |_| None);
    let head = DeepNorm {
        qk: QkNorm::Head,
        ..DeepNorm::default()
    };
    linear_norms(&head, qk(&per_head(layer)));
    ends(&scheme, None);
    plain_branches(&scheme);
    // Xavier: gain * sqrt(2 / (in + out)).
    let xavier = |gain: f64, fans: f64| (gain * (2.0 / fans).sqrt(), None);
    deviations(&scheme, |_, site| match site {
        Site::Embedding | Site::Positions | Site::Head => (0.02, None),
        Site::Q => xavier(1.0, D + 4.0 * K),
        Site::K => xavier(1.0, D + 2.0 * K),
        Site::V => xavier(beta, D + 2.0 * K),
        Site::O => xavier(beta, 4.0 * K + D),
        Site::Router => xavier(1.0, D + E as f64),
        Site::Gate | Site::Up | Site::Down => xavier(beta, D + F),
    });
}

#[test]
fn keel_scales_the_skip_behind_its_first_block() {
    let layer = |role| normed(Layer {}, 1e-5, role);
    let scaled = |skip, norm: &dyn Fn(GainRole) -> NormPlan| ResidualPlan {
        mix: MixPlan::Scaled { skip },
        after: Some(norm(GainRole::Output)),
        ..input(norm(GainRole::Input))
    };
    let scheme = Keel::default();
    streams(&scheme, |index, _| match index {
        0 => input(layer(GainRole::Input)),
        // 2 L.
        _ => scaled(6.0, &layer),
    });
    linear_norms(&scheme, |_| None);
    ends(&scheme, None);
    plain_branches(&scheme);
    deviations(&scheme, gpt2);
    let all = Keel {
        qk: QkNorm::Head,
        norm: Statistics::Rms,
        skip_scale: Some(1.5),
        first_block: FirstBlock::Post,
        decay: Decay::All,
        ..Keel::default()
    };
    let rms = |role| decayed(normed(Rms {}, 1e-5, role));
    streams(&all, |_, _| scaled(1.5, &rms));
    linear_norms(&all, qk(&per_head(rms(GainRole::Output))));
    let ended = Keel {
        final_norm: FinalNorm::Rms,
        decay: Decay::All,
        ..Keel::default()
    };
    ends(&ended, Some(rms(GainRole::Input)));
}

/// A choice of the q/k norm acts in every scheme that has it.
#[test]
fn unit_heads_have_a_learned_scale_in_every_scheme() {
    let qk = QkNorm::Unit;
    let schemes: [Box<dyn NormStrategy>; 6] = [
        Box::new(PreNorm {
            qk,
            ..PreNorm::default()
        }),
        Box::new(PostNorm {
            qk,
            ..PostNorm::default()
        }),
        Box::new(PeriNorm {
            qk,
            ..PeriNorm::default()
        }),
        Box::new(Olmo2 {
            qk,
            ..Olmo2::default()
        }),
        Box::new(LnScaling {
            qk,
            ..LnScaling::default()
        }),
        Box::new(Keel {
            qk,
            ..Keel::default()
        }),
    ];
    for scheme in schemes {
        let plan = Plan::new(&config(), scheme.as_ref()).unwrap();
        for layer in &plan.layers {
            assert!(layer.attention.qk_norm.is_some(), "{}", plan.scheme);
            assert!(layer.attention.softmax_gain.is_some(), "{}", plan.scheme);
        }
    }
}

#[test]
fn sdd_starts_by_the_width_alone() {
    let post = PostNorm {
        start: WeightInit::Sdd,
        ..PostNorm::default()
    };
    deviations(&post, |_, _| (1.0 / (2.5 * D).sqrt(), None));
}

#[test]
fn ln_scaling_divides_by_the_root_of_the_layers_number() {
    let rms = |role| normed(Rms {}, 1e-5, role);
    let scheme = LnScaling::default();
    streams(&scheme, |layer, _| {
        input(NormPlan {
            factor: 1.0 / [1.0, 2.0_f64.sqrt(), 3.0_f64.sqrt()][layer],
            ..rms(GainRole::Input)
        })
    });
    linear_norms(&scheme, |_| None);
    let full = LnScaling {
        qk: QkNorm::Full,
        ..LnScaling::default()
    };
    linear_norms(&full, qk(&rms(GainRole::Output)));
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, |layer, site| match site {
        Site::Embedding | Site::Head => simple_gpt(layer, site),
        _ => (0.02, None),
    });
}

#[test]
fn dyt_and_derf_have_their_slopes_and_vectors() {
    let tanh = |slope| normed(Tanh { slope }, 0.0, GainRole::Input);
    let scheme = DyT::default();
    streams(&scheme, |_, branch| {
        input(tanh(match branch {
            Branch::Attention => 0.8,
            Branch::Mlp => 0.2,
        }))
    });
    let expected = EmbeddingPlan {
        gain: Some(GainPlan {
            shape: GainShape::Scalar,
            ..learned(D.sqrt(), D.sqrt(), Form::Direct)
        }),
        ..EmbeddingPlan::plain()
    };
    assert_eq!(scheme.embedding(&dims()), expected);
    let expected = HeadPlan {
        final_norm: Some(tanh(0.2)),
        ..HeadPlan::plain()
    };
    assert_eq!(scheme.head(&dims()), expected);
    plain_branches(&scheme);
    deviations(&scheme, gpt2);
    let plain = DyT {
        embed_scalar: EmbedScalar::None,
        bias: Bias::Learned,
        decay: Decay::All,
        ..DyT::default()
    };
    let biased = NormPlan {
        bias: Some(BiasPlan { decay: true }),
        ..decayed(tanh(0.2))
    };
    ends(&plain, Some(biased));

    let erf = NormPlan {
        bias: Some(BiasPlan { decay: false }),
        ..normed(Erf { slope: 0.5 }, 0.0, GainRole::Input)
    };
    let scheme = Derf::default();
    streams(&scheme, |_, _| input(erf.clone()));
    ends(&scheme, Some(erf));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
}

#[test]
fn simple_norm_normalizes_every_product_of_a_block() {
    let rms = |role| decayed(normed(Rms {}, 1e-5, role));
    let scheme = SimpleNorm::default();
    streams(&scheme, |_, _| ResidualPlan::plain());
    let block = |site| match site {
        Site::V | Site::Up => Some(rms(GainRole::Input)),
        _ => Some(rms(GainRole::Output)),
    };
    for router in [RouterNorm::None, RouterNorm::Normalized] {
        let scheme = SimpleNorm {
            router,
            ..scheme.clone()
        };
        linear_norms(&scheme, |site| match (site, router) {
            (Site::Router, RouterNorm::None) => None,
            _ => block(site),
        });
    }
    // The activation of a plain MLP stands between `up` and the next matrix.
    let mut plain = dims();
    plain.mlp = MlpKind::Relu2;
    let up = scheme.linear(1, Site::Up, &plain);
    assert_eq!(up.norm, Some(rms(GainRole::Output)));
    ends(&scheme, Some(rms(GainRole::Input)));
    plain_branches(&scheme);
    deviations(&scheme, simple_gpt);
}

/// Initial rows on the sphere along an axis and held there by this constraint, without decay.
fn spheres(
    strategy: &dyn NormStrategy,
    along: impl Fn(Site) -> Axis,
    held: impl Fn(Axis) -> Constraint,
) {
    for site in SITES {
        let plan = strategy.weight(1, site, &dims());
        let along = along(site);
        assert_eq!(plan.init, Init::UnitSphere { along }, "{site}");
        assert_eq!(plan.constraint, held(along), "{site}");
        assert!(!plan.decay, "{site}");
    }
}

/// At most 1 along an axis.
fn ball(along: Axis) -> Constraint {
    Constraint::AtMost { along, radius: 1.0 }
}

#[test]
fn ngpt_is_on_the_sphere_everywhere() {
    let scheme = Ngpt::default();
    let base = 1.0 / D.sqrt();
    streams(&scheme, |_, _| ResidualPlan {
        skip: Some(unit()),
        output: Some(unit()),
        mix: MixPlan::Lerp {
            alpha: learned(0.05, base, Form::Absolute),
            factor: LerpFactor::One,
        },
        after: Some(unit()),
        ..ResidualPlan::plain()
    });
    for (heads, factor) in [(HeadNorm::Unit, 1.0), (HeadNorm::None, (D / K).sqrt())] {
        let scheme = Ngpt {
            qk: heads,
            ..Ngpt::default()
        };
        for site in SITES {
            let expected = match site {
                Site::Gate | Site::Up => LinearPlan {
                    factor: D.sqrt(),
                    after: Some(learned(1.0, 1.0, Form::Direct)),
                    ..LinearPlan::default()
                },
                Site::Router => LinearPlan::scaled(D.sqrt()),
                Site::Q | Site::K => LinearPlan::scaled(factor),
                _ => LinearPlan::default(),
            };
            assert_eq!(scheme.linear(0, site, &dims()), expected, "{site}");
        }
        let attention = scheme.attention(0, &dims());
        let norm = (heads == HeadNorm::Unit).then(|| per_head(unit()));
        assert_eq!(attention.qk_norm, norm);
        assert_eq!(attention.qk_gain, Some(learned(1.0, base, Form::Direct)));
        near(attention.softmax_scale, K.sqrt(), "scores");
    }
    let expected = HeadPlan {
        logit_gain: Some(learned(1.0, base, Form::Direct)),
        ..HeadPlan::plain()
    };
    assert_eq!(scheme.embedding(&dims()), EmbeddingPlan::plain());
    assert_eq!(scheme.head(&dims()), expected);
    // Always the model axis.
    let model_axis = |site| match site {
        Site::Embedding | Site::Positions | Site::O | Site::Down => Axis::Out,
        _ => Axis::In,
    };
    spheres(&scheme, model_axis, |along| Constraint::Unit { along });
    let balls = Ngpt {
        rows: RowNorm::AtMostOne,
        ..Ngpt::default()
    };
    spheres(&balls, model_axis, ball);
}

#[test]
fn the_ablation_arm_of_ngpt_has_a_factor_for_its_norm() {
    let alpha = learned(0.05, 1.0 / D.sqrt(), Form::Absolute);
    for (residual_factor, skip_norm, factor, skip) in [
        (
            ResidualFactor::SecondMoment,
            None,
            LerpFactor::SecondMoment,
            None,
        ),
        (
            ResidualFactor::SecondMoment,
            Some(UnitNorm::Unit),
            LerpFactor::SecondMoment,
            Some(unit()),
        ),
        (
            ResidualFactor::One,
            Some(UnitNorm::None),
            LerpFactor::One,
            None,
        ),
    ] {
        let scheme = Ngpt {
            residual_factor,
            skip_norm,
            ..Ngpt::default()
        };
        streams(&scheme, |_, _| ResidualPlan {
            skip: skip.clone(),
            output: Some(unit()),
            mix: MixPlan::Lerp {
                alpha: alpha.clone(),
                factor,
            },
            after: (factor == LerpFactor::One).then(unit),
            ..ResidualPlan::plain()
        });
    }
}

/// One learned scalar, stored as itself.
fn scalar(init: f64) -> GainPlan {
    GainPlan {
        shape: GainShape::Scalar,
        ..learned(init, init, Form::Direct)
    }
}

#[test]
fn scores_have_the_scale_of_their_norm() {
    let of = |qk, softmax_gain, softmax_scale| {
        let scheme = PreNorm {
            qk,
            softmax_gain,
            softmax_scale,
            ..PreNorm::default()
        };
        let plan = scheme.attention(0, &dims());
        let site = scheme.linear(0, Site::K, &dims());
        assert_eq!(
            site.norm.is_some(),
            matches!(qk, QkNorm::Head | QkNorm::Full)
        );
        let after = plan.qk_norm.is_some().then_some(plan.normed);
        assert_eq!(plan.qk_norm, after.map(|_| per_head(unit())));
        (after, plan.softmax_gain, plan.softmax_scale)
    };
    for (qk, after, natural) in [
        (QkNorm::None, None, 1.0 / K.sqrt()),
        (QkNorm::Head, None, 1.0 / K.sqrt()),
        (QkNorm::Full, None, 1.0 / K.sqrt()),
        (QkNorm::Unit, Some(Normed::Both), K.sqrt()),
        (QkNorm::Keys, Some(Normed::Keys), 1.0),
    ] {
        let constant = (after, None, natural);
        let free = (after, Some(scalar(natural)), 1.0);
        let own = if qk == QkNorm::Unit { &free } else { &constant };
        assert_eq!(of(qk, None, None), *own, "{qk:?}");
        assert_eq!(of(qk, Some(SoftmaxGain::None), None), constant, "{qk:?}");
        assert_eq!(of(qk, Some(SoftmaxGain::Learned), None), free, "{qk:?}");
        let given = of(qk, Some(SoftmaxGain::None), Some(0.3));
        assert_eq!(given, (after, None, 0.3), "{qk:?}");
        let given = of(qk, Some(SoftmaxGain::Learned), Some(0.3));
        assert_eq!(given, (after, Some(scalar(0.3)), 1.0), "{qk:?}");
    }
    // Decay of everything takes the scalar too.
    let all = PreNorm {
        qk: QkNorm::Unit,
        decay: Decay::All,
        ..PreNorm::default()
    };
    let gain = all.attention(0, &dims()).softmax_gain;
    assert!(gain.is_some_and(|gain| gain.decay));
}

#[test]
fn one_scalar_a_layer_is_a_parameter_of_its_own() {
    let plan = Plan::new(&config(), &AnGpt::default()).unwrap();
    for layer in 0..LAYERS {
        let path = format!("blocks.{layer}.attn.scores.softmax.value");
        let spec = plan.params().into_iter().find(|spec| spec.path == path);
        let spec = spec.unwrap();
        assert_eq!((spec.shape, spec.decay), (vec![1], false));
    }
}

#[test]
fn angpt_divides_what_branches_write_and_replaces_other_norms_with_constants() {
    let scheme = AnGpt::default();
    for (branch_norm, residual_factor, factor) in [
        (
            UnitNorm::Unit,
            ResidualFactor::SecondMoment,
            LerpFactor::SecondMoment,
        ),
        (UnitNorm::Unit, ResidualFactor::One, LerpFactor::One),
        (
            UnitNorm::None,
            ResidualFactor::SecondMoment,
            LerpFactor::SecondMoment,
        ),
    ] {
        let scheme = AnGpt {
            branch_norm,
            residual_factor,
            ..AnGpt::default()
        };
        streams(&scheme, |_, _| ResidualPlan {
            output: (branch_norm == UnitNorm::Unit).then(unit),
            mix: MixPlan::Lerp {
                alpha: learned(0.05, 0.01, Form::Direct),
                factor,
            },
            ..ResidualPlan::plain()
        });
    }
    let factors = FactorScales {
        qkv: 1.02,
        o: 0.98,
        up: 1.5,
        activation: 3.0,
        down: 0.7,
    };
    let ablation = AnGpt {
        factors,
        ..AnGpt::default()
    };
    for site in SITES {
        // nu = sqrt(in / out), a head by itself counting as one.
        let (nu, scale) = match site {
            Site::Q | Site::K | Site::V => ((D / K).sqrt(), 1.02),
            Site::O => ((K / D).sqrt(), 0.98),
            Site::Gate | Site::Up => ((D / F).sqrt(), 1.5),
            Site::Down => ((F / D).sqrt(), 0.7),
            Site::Router => (D.sqrt(), 1.0),
            Site::Embedding | Site::Positions | Site::Head => (1.0, 1.0),
        };
        for (scheme, scale) in [(&scheme, 1.0), (&ablation, scale)] {
            let plan = scheme.linear(0, site, &dims());
            near(plan.factor, scale * nu, &format!("{site}"));
            assert_eq!(plan, LinearPlan::scaled(plan.factor), "{site}");
        }
    }
    let plain = scheme.mlp(0, &dims());
    near(plain.before, D.sqrt(), "before the activation");
    assert_eq!(plain.combine, Combine::UnitLength);
    let computed = AnGpt::activation_factor(MlpKind::Swiglu, 24, 40);
    near(plain.after, computed, "after the activation");
    near(
        ablation.mlp(0, &dims()).after,
        3.0 * computed,
        "three times it",
    );
    let attention = scheme.attention(0, &dims());
    assert_eq!(attention.qk_norm, Some(per_head(unit())));
    assert_eq!(attention.qk_gain, None);
    assert_eq!(attention.softmax_gain, Some(scalar(K.sqrt())));
    near(attention.softmax_scale, 1.0, "scores");
    let other = AnGpt {
        qk: HeadNorm::None,
        softmax_gain: SoftmaxGain::None,
        gate_scale: GateScale::One,
        attention_factor: AttentionFactor::Dense,
        ..AnGpt::default()
    };
    let attention = other.attention(0, &dims());
    assert_eq!((attention.qk_norm, attention.softmax_gain), (None, None));
    near(attention.softmax_scale, K.sqrt(), "scores");
    assert_eq!(attention.factor, AttentionFactor::Dense);
    // The other reading of the gate keeps the constant behind the activation: it cancels.
    let mlp = other.mlp(0, &dims());
    near(mlp.before, 1.0, "before the activation");
    near(mlp.after, computed, "after the activation");
    // The row that makes one output; of the embedding, one token's vector.
    let rows = |site| match site {
        Site::Embedding | Site::Positions => Axis::Out,
        _ => Axis::In,
    };
    spheres(&scheme, rows, ball);
    let exact = AnGpt {
        rows: RowNorm::One,
        ..AnGpt::default()
    };
    spheres(&exact, rows, |along| Constraint::Unit { along });
}

#[test]
fn angpt_shares_the_unit_length_between_token_and_position() {
    for (positions, factor) in [
        (Positions::Rope, 1.0),
        (Positions::RopeHalves, 1.0),
        (Positions::None, 1.0),
        (Positions::Learned, 0.5_f64.sqrt()),
    ] {
        let config = ModelConfig {
            positions,
            ..config()
        };
        let plan = Plan::new(&config, &AnGpt::default()).unwrap();
        near(
            plan.ends.embedding.factor,
            factor,
            &format!("{positions:?}"),
        );
        let gain = learned(1.0, 0.01, Form::Direct);
        assert_eq!(plan.ends.head.logit_gain, Some(gain));
        assert_eq!(plan.ends.head.final_norm, None);
    }
}
