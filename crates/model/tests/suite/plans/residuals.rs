//! Schemes that differ in how a branch joins the residual stream.

use super::{
    D, E, F, K, LAYERS, decayed, deviations, dims, ends, gpt2, input, learned, linear_norms, near,
    normed, per_head, plain_branches, qk, simple_gpt, streams,
};
use crate::common::config;
use evenburn_model::function::{Layer, Rms};
use evenburn_model::plan::{
    CompanionPlan, EmbeddingPlan, Form, GainRole, HeadPlan, JoinPlan, MixPlan, NormPlan,
    ResidualPlan,
};
use evenburn_model::rule::Geodesic;
use evenburn_model::strategy::{
    AngleDecay, Decay, DeepNorm, EmbedNorm, FinalNorm, FirstBlock, GeoNorm, Keel, NormStrategy,
    QkNorm, SiameseNorm, Statistics, Streams,
};
use evenburn_model::{Branch, Plan, Registry, Site};

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
