//! Plans that can't be are refused, with the two decisions that clash and the place where they do.

mod absorb;
mod components;
mod repeat;
mod sizes;

use crate::common::{config, plan, subjects};
use evenburn_model::plan::{
    AttentionPlan, BiasPlan, EmbeddingPlan, Form, GainPlan, GainRole, GainShape, HeadPlan,
    LinearPlan, NormPlan, ResidualPlan,
};
use evenburn_model::strategy::{NormStrategy, Scheme};
use evenburn_model::{
    Branch, Decoder, Dims, ExpertsConfig, Gains, ModelConfig, Plan, PlanError, Registry,
    ScaleSwitches, ScaleVectors, Site, fold,
};

/// A plain decoder with one plan for all residuals, one for the linear maps at one site, and both ends.
#[derive(Debug, Clone)]
struct Custom {
    residual: ResidualPlan,
    site: Site,
    linear: LinearPlan,
    qk_norm: Option<NormPlan>,
    qk_gain: Option<GainPlan>,
    softmax: (f64, Option<GainPlan>),
    embedding: EmbeddingPlan,
    head: HeadPlan,
}

impl Default for Custom {
    fn default() -> Self {
        Self {
            residual: ResidualPlan::plain(),
            site: Site::O,
            linear: LinearPlan::default(),
            qk_norm: None,
            qk_gain: None,
            softmax: (1.0, None),
            embedding: EmbeddingPlan::plain(),
            head: HeadPlan::plain(),
        }
    }
}

impl NormStrategy for Custom {
    fn name(&self) -> &'static str {
        "custom"
    }
    fn residual(&self, _: usize, _: Branch, _: &Dims) -> ResidualPlan {
        self.residual.clone()
    }
    fn linear(&self, _: usize, site: Site, _: &Dims) -> LinearPlan {
        if site == self.site {
            self.linear.clone()
        } else {
            LinearPlan::default()
        }
    }
    fn attention(&self, layer: usize, d: &Dims) -> AttentionPlan {
        AttentionPlan {
            qk_norm: self.qk_norm.clone(),
            qk_gain: self.qk_gain.clone(),
            softmax_scale: self.softmax.0,
            softmax_gain: self.softmax.1.clone(),
            ..Scheme::default().strategy().unwrap().attention(layer, d)
        }
    }
    fn embedding(&self, _: &Dims) -> EmbeddingPlan {
        self.embedding.clone()
    }
    fn head(&self, _: &Dims) -> HeadPlan {
        self.head.clone()
    }
}

impl Custom {
    fn build(&self) -> Result<Plan, PlanError> {
        Plan::new(&config(), self)
    }

    fn build_with_experts(&self) -> Result<Plan, PlanError> {
        let experts = ExpertsConfig {
            count: 4,
            ..ExpertsConfig::default()
        };
        let mixture = ModelConfig {
            experts,
            ..config()
        };
        Plan::new(&mixture, self)
    }
}

/// The message of a clash has the scheme, the place and both decisions.
fn clash(refused: Result<Plan, PlanError>, place: &str, first: &str, second: &str) {
    let refused = refused.expect_err(&format!("{place}: {first} and {second}"));
    assert!(matches!(refused, PlanError::Clash { .. }), "{refused}");
    let message = refused.to_string();
    for part in [&format!("custom, {place}: "), first, second] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn rms() -> NormPlan {
    NormPlan {
        gain: None,
        ..NormPlan::rms(1e-5, GainRole::Output)
    }
}

fn layer() -> NormPlan {
    NormPlan {
        gain: None,
        ..NormPlan::layer(1e-5, GainRole::Output)
    }
}

fn gained(mut norm: NormPlan) -> NormPlan {
    norm.gain = Some(GainPlan::ones(GainRole::Output));
    norm
}

fn biased(norm: NormPlan) -> NormPlan {
    NormPlan {
        bias: Some(BiasPlan::default()),
        ..norm
    }
}

fn normed(norm: NormPlan) -> LinearPlan {
    LinearPlan {
        norm: Some(norm),
        ..LinearPlan::default()
    }
}

#[test]
fn a_scale_of_one_entry_does_not_stand_behind_a_normalization() {
    let scalar = GainPlan {
        shape: GainShape::Scalar,
        ..GainPlan::ones(GainRole::Output)
    };
    let inside = NormPlan {
        gain: Some(scalar.clone()),
        ..rms()
    };
    let behind = LinearPlan {
        after: Some(scalar.clone()),
        ..normed(rms())
    };
    for (linear, part) in [(normed(inside), "norm"), (behind, "scale after")] {
        let custom = Custom {
            linear,
            ..Custom::default()
        };
        let place = format!("block 0, attn.o, {part}");
        clash(
            custom.build(),
            &place,
            "a normalization",
            "a scale of one entry",
        );
    }
    // Elsewhere one entry serves all channels.
    let alone = Custom {
        linear: LinearPlan {
            after: Some(scalar),
            ..LinearPlan::default()
        },
        ..Custom::default()
    };
    let plan = alone.build().unwrap();
    Decoder::new(&plan, 0, &burn::tensor::Device::flex());
}

/// What a folded plan no longer has must not make it a contradiction, and schemes may lose their gains.
#[test]
fn whatever_follows_from_a_scheme_is_a_plan() {
    let device = burn::tensor::Device::flex();
    for subject in subjects() {
        let plan = plan(&subject);
        plan.validate().unwrap();
        let folded = fold(&plan, &Decoder::new(&plan, 0, &device), &device).unwrap();
        folded.plan.validate().unwrap();
    }
    for scheme in Registry::default().schemes() {
        let named = ModelConfig {
            scale_vectors: ScaleVectors::None,
            ..config()
        };
        let without = scheme.plan(&named);
        if scheme.name() == "keel" {
            // Its input norms do something else than the norms of the sum through their gains alone.
            let refused = without.unwrap_err().to_string();
            assert!(refused.contains("the input norm right behind it, which repeats it"));
        } else {
            without.unwrap();
        }
        let output = ModelConfig {
            scale: ScaleSwitches {
                gains: Some(Gains::Output),
                ..ScaleSwitches::default()
            },
            ..config()
        };
        scheme.plan(&output).unwrap();
    }
}

#[test]
fn stored_scales_that_cannot_start_are_refused() {
    let gain = |form, init, scale| GainPlan {
        form,
        init,
        scale,
        ..GainPlan::ones(GainRole::Output)
    };
    let build = |after| {
        let custom = Custom {
            linear: LinearPlan {
                after: Some(after),
                ..LinearPlan::default()
            },
            ..Custom::default()
        };
        custom.build()
    };
    let refused = build(gain(Form::Absolute, -1.0, 1.0));
    clash(
        refused,
        "block 0, attn.o, scale after",
        "a negative initial value",
        "absolute value",
    );
    for bad in [
        gain(Form::Direct, 1.0, 0.0),
        gain(Form::Direct, f64::NAN, 1.0),
        // exp(m) is never negative.
        gain(Form::ExpProduct, -1.0, 1.0),
        gain(Form::CenteredExp, -1.0, 1.0),
    ] {
        let refused = build(bad).unwrap_err();
        assert!(matches!(refused, PlanError::Number { .. }), "{refused}");
    }
    build(gain(Form::OnePlus, 1.0, 0.0)).unwrap();
    build(gain(Form::CenteredExp, 0.5, 0.0)).unwrap();
}

#[test]
fn a_learned_softmax_scale_is_one_positive_number_in_the_constants_place() {
    let build = |scale, gain| {
        let custom = Custom {
            softmax: (scale, Some(gain)),
            ..Custom::default()
        };
        custom.build()
    };
    build(1.0, GainPlan::scalar(2.0)).unwrap();
    let place = "block 0, attention scores";
    let learned = "a learned softmax scale";
    let vector = GainPlan::ones(GainRole::Output);
    clash(
        build(1.0, vector),
        place,
        learned,
        "an entry for each channel",
    );
    clash(
        build(0.5, GainPlan::scalar(2.0)),
        place,
        learned,
        "the constant 0.5",
    );
    let input = GainPlan {
        role: GainRole::Input,
        ..GainPlan::scalar(2.0)
    };
    clash(
        build(1.0, input),
        place,
        "to absorb",
        "the softmax behind it",
    );
    for init in [0.0, -1.0, f64::NAN] {
        let refused = build(1.0, GainPlan::scalar(init)).unwrap_err();
        assert!(matches!(refused, PlanError::Number { .. }), "{refused}");
        assert!(refused.to_string().contains(place), "{refused}");
    }
}
