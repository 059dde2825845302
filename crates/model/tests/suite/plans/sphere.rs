//! Schemes whose vectors and weights are held at unit length: nGPT and anGPT.

use super::{D, F, K, SITES, dims, learned, near, per_head, scalar, streams, unit};
use crate::common::config;
use evenburn_geometry::{Axis, Constraint};
use evenburn_model::plan::{
    AttentionFactor, Combine, EmbeddingPlan, Form, HeadPlan, Init, LerpFactor, LinearPlan, MixPlan,
    ResidualPlan,
};
use evenburn_model::strategy::{
    AnGpt, FactorScales, GateScale, HeadNorm, Ngpt, NormStrategy, ResidualFactor, RowNorm,
    SoftmaxGain, UnitNorm,
};
use evenburn_model::{MlpKind, ModelConfig, Plan, Positions, Site};

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
