//! Plans that can't be are refused, with the two decisions that clash and the place where they do.

use crate::common::{config, plan, subjects};
use evenburn_model::plan::{
    AttentionPlan, BiasPlan, EndsPlan, Form, GainPlan, GainRole, GainShape, LerpFactor, LinearPlan,
    MixPlan, NormKind, NormPlan, ResidualPlan,
};
use evenburn_model::strategy::{NormStrategy, Scheme};
use evenburn_model::{
    Branch, Decoder, Dims, ExpertsConfig, Gains, MlpKind, ModelConfig, Plan, PlanError, Positions,
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
    ends: EndsPlan,
}

impl Default for Custom {
    fn default() -> Self {
        Self {
            residual: ResidualPlan::plain(),
            site: Site::O,
            linear: LinearPlan::default(),
            qk_norm: None,
            qk_gain: None,
            ends: EndsPlan::plain(),
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
            ..Scheme::default().strategy().attention(layer, d)
        }
    }
    fn ends(&self, _: &Dims) -> EndsPlan {
        self.ends.clone()
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
fn a_product_and_what_a_branch_writes_are_not_both_normalized() {
    let custom = |site, linear, output| Custom {
        site,
        linear,
        residual: ResidualPlan {
            output: Some(output),
            ..ResidualPlan::plain()
        },
        ..Custom::default()
    };
    for (site, place) in [
        (Site::O, "block 0, attn_residual"),
        (Site::Down, "block 0, mlp_residual"),
    ] {
        let first = format!("the norm of the product of {site}");
        for (a, b, how) in [
            (rms(), rms(), "undoes"),
            (rms(), gained(rms()), "undoes"),
            (rms().scaled(0.3), layer(), "undoes"),
            (NormPlan::unit(), rms(), "undoes"),
            (layer(), layer(), "undoes"),
            // The second keeps what the first takes the mean from, but finds it of length 1.
            (layer(), rms(), "repeats"),
        ] {
            let refused = custom(site, normed(a), b).build();
            let second = format!("the output norm right behind it, which {how} it");
            clash(refused, place, &first, &second);
        }
        // A learned vector between them does something.
        let doubled = LinearPlan {
            after: Some(GainPlan::ones(GainRole::Output)),
            ..normed(rms())
        };
        for linear in [normed(gained(rms())), normed(biased(rms())), doubled] {
            custom(site, linear, rms()).build().unwrap();
        }
        // So does a function of single channels, on either side.
        let pointwise = NormPlan {
            gain: None,
            bias: None,
            ..NormPlan::pointwise(NormKind::Tanh { slope: 0.5 }, GainRole::Output)
        };
        custom(site, normed(pointwise.clone()), rms())
            .build()
            .unwrap();
        custom(site, normed(rms()), pointwise).build().unwrap();
    }
    // The outputs of experts are summed before they are normalized.
    let down = custom(Site::Down, normed(rms()), gained(rms()));
    down.build_with_experts().unwrap();
}

#[test]
fn a_normalized_stream_is_not_normalized_again() {
    let custom = |residual| Custom {
        residual,
        ..Custom::default()
    };
    let place = "block 0, attn_residual";
    let stream = |stream, input, skip| {
        custom(ResidualPlan {
            stream: Some(stream),
            input,
            skip,
            ..ResidualPlan::plain()
        })
    };
    let refused = stream(rms(), Some(gained(rms())), None).build();
    clash(
        refused,
        place,
        "the stream norm",
        "the input norm right behind it, which repeats it",
    );
    let refused = stream(rms(), None, Some(rms())).build();
    clash(
        refused,
        place,
        "the stream norm",
        "the skip norm right behind it, which repeats it",
    );
    // The skip connection keeps what the input norm undoes, unless it is normalized too.
    stream(rms(), Some(layer()), None).build().unwrap();
    let refused = stream(rms(), Some(layer()), Some(layer())).build();
    clash(
        refused,
        place,
        "the stream norm",
        "the input norm and the skip norm",
    );
    stream(gained(rms()), Some(rms()), None).build().unwrap();
    stream(biased(rms()), Some(rms()), None).build().unwrap();

    let after = |after, input: Option<NormPlan>, stream: Option<NormPlan>| {
        custom(ResidualPlan {
            after: Some(after),
            input,
            stream,
            ..ResidualPlan::plain()
        })
    };
    let (place, first) = (
        "block 0, mlp_residual",
        "the norm after block 0, attn_residual",
    );
    let refused = after(layer(), Some(gained(rms())), None).build();
    clash(
        refused,
        place,
        first,
        "the input norm right behind it, which repeats it",
    );
    let refused = after(rms(), None, Some(gained(layer()))).build();
    clash(
        refused,
        place,
        first,
        "the stream norm right behind it, which undoes it",
    );
    after(rms(), Some(layer()), None).build().unwrap();
    after(gained(rms()), Some(rms()), None).build().unwrap();
    after(gained(rms()), None, Some(rms())).build().unwrap();
}

#[test]
fn both_ends_are_not_normalized_twice() {
    let custom = |residual, embed_norm, final_norm| Custom {
        residual,
        ends: EndsPlan {
            embed_norm,
            final_norm,
            ..EndsPlan::plain()
        },
        ..Custom::default()
    };
    let stream = ResidualPlan {
        stream: Some(gained(rms())),
        ..ResidualPlan::plain()
    };
    let refused = custom(stream.clone(), Some(rms()), None).build();
    let embed = "the norm of the embedding";
    clash(
        refused,
        "block 0, attn_residual",
        embed,
        "the stream norm right behind it",
    );
    custom(stream, Some(gained(rms())), None).build().unwrap();
    let both = ResidualPlan {
        input: Some(rms()),
        skip: Some(rms()),
        ..ResidualPlan::plain()
    };
    let refused = custom(both, Some(rms()), None).build();
    clash(
        refused,
        "block 0, attn_residual",
        embed,
        "the input norm and the skip norm",
    );
    // Blocks are alike: in all but the first the input norm does something.
    let input = ResidualPlan {
        input: Some(rms()),
        ..ResidualPlan::plain()
    };
    custom(input, Some(rms()), None).build().unwrap();

    let after = |norm| ResidualPlan {
        after: Some(norm),
        ..ResidualPlan::plain()
    };
    let refused = custom(after(layer()), None, Some(gained(layer()))).build();
    let first = "the norm after block 2, mlp_residual";
    clash(
        refused,
        "final norm",
        first,
        "the final norm right behind it",
    );
    custom(after(gained(layer())), None, Some(layer()))
        .build()
        .unwrap();
}

#[test]
fn heads_are_not_normalized_twice() {
    let custom = |site, linear, qk_norm: NormPlan| Custom {
        site,
        linear,
        qk_norm: Some(qk_norm.per_head()),
        ..Custom::default()
    };
    for (site, place) in [(Site::Q, "block 0, attn.q"), (Site::K, "block 0, attn.k")] {
        for (a, how) in [
            (rms().per_head(), "undoes"),
            // One size for all heads is gone once each has its own.
            (rms(), "undoes"),
            (layer().per_head(), "repeats"),
        ] {
            let refused = custom(site, normed(a), NormPlan::unit()).build();
            let second = format!("the q/k norm right behind it, which {how} it");
            clash(refused, place, "the norm of the product", &second);
        }
        // The rotation moves the mean of a head, so both means are taken from something.
        let centred = custom(site, normed(layer().per_head()), layer());
        centred.build().unwrap();
        custom(site, normed(layer()), NormPlan::unit())
            .build()
            .unwrap();
        let with_gain = normed(gained(rms()).per_head());
        custom(site, with_gain, NormPlan::unit()).build().unwrap();
    }
    custom(Site::V, normed(rms()), NormPlan::unit())
        .build()
        .unwrap();
}

#[test]
fn a_scale_that_no_matrix_can_absorb_is_not_said_to_have_one_behind_it() {
    let input = GainPlan::ones(GainRole::Input);
    let norm = NormPlan::rms(1e-5, GainRole::Input);
    let promise = "a scale for a linear map to absorb";
    for (site, behind) in [
        (Site::Q, "the product of q and k"),
        (Site::K, "the product of q and k"),
        (Site::Gate, "the activation"),
        (Site::O, "the sum with the stream"),
        (Site::Down, "the sum with the stream"),
        (Site::Router, "the choice of experts"),
    ] {
        let after = LinearPlan {
            after: Some(input.clone()),
            ..LinearPlan::default()
        };
        for (linear, part) in [(normed(norm.clone()), "norm"), (after, "scale after")] {
            let custom = Custom {
                site,
                linear,
                ..Custom::default()
            };
            let place = format!("block 0, {site}, {part}");
            clash(custom.build_with_experts(), &place, promise, behind);
        }
    }
    // Values are only mixed and the linear branch is only multiplied before the next matrix.
    for site in [Site::V, Site::Up] {
        let custom = Custom {
            site,
            linear: normed(norm.clone()),
            ..Custom::default()
        };
        custom.build().unwrap();
    }

    let in_stream = |change: &dyn Fn(&mut ResidualPlan)| {
        let mut custom = Custom::default();
        change(&mut custom.residual);
        custom
    };
    let place = "block 0, attn_residual";
    for (name, custom) in [
        ("stream norm", in_stream(&|r| r.stream = Some(norm.clone()))),
        ("output norm", in_stream(&|r| r.output = Some(norm.clone()))),
        ("skip norm", in_stream(&|r| r.skip = Some(norm.clone()))),
        ("norm after", in_stream(&|r| r.after = Some(norm.clone()))),
        (
            "alpha",
            in_stream(&|r| {
                r.mix = MixPlan::Lerp {
                    alpha: input.clone(),
                    factor: LerpFactor::One,
                }
            }),
        ),
    ] {
        clash(custom.build(), &format!("{place}, {name}"), promise, "sum");
    }
    in_stream(&|r| r.input = Some(norm.clone()))
        .build()
        .unwrap();

    let at_an_end = |change: &dyn Fn(&mut EndsPlan)| {
        let mut custom = Custom::default();
        change(&mut custom.ends);
        custom.build()
    };
    let refused = at_an_end(&|ends| ends.embed_norm = Some(norm.clone()));
    clash(refused, "embed, norm", promise, "the stream behind it");
    let refused = at_an_end(&|ends| ends.embed_gain = Some(input.clone()));
    clash(refused, "embed", promise, "the stream behind it");
    let refused = at_an_end(&|ends| ends.logit_gain = Some(input.clone()));
    clash(refused, "logits", promise, "the softmax");
    at_an_end(&|ends| ends.final_norm = Some(norm.clone())).unwrap();
    let scores = Custom {
        qk_gain: Some(input),
        ..Custom::default()
    };
    let place = "block 0, attention scores";
    clash(scores.build(), place, promise, "the product of q and k");
}

/// The output layer reads the last sum where no final norm stands between.
#[test]
fn the_last_norm_of_the_stream_may_have_the_output_layer_behind_it() {
    let mut plan = Custom {
        residual: ResidualPlan {
            after: Some(gained(rms())),
            ..ResidualPlan::plain()
        },
        ..Custom::default()
    }
    .build()
    .unwrap();
    let norm = NormPlan::rms(1e-5, GainRole::Input);
    plan.layers[2].mlp_residual.after = Some(norm.clone());
    plan.validate().unwrap();
    plan.ends.final_norm = Some(norm);
    let refused = plan.validate().map(|()| plan);
    let place = "block 2, mlp_residual, norm after";
    clash(
        refused,
        place,
        "a scale for a linear map",
        "the stream behind it",
    );
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

type Change = fn(&mut Plan);

/// A plan read back from a file can have anything in it.
#[test]
fn plans_whose_sizes_disagree_are_refused() {
    let refuse = |change: &dyn Fn(&mut Plan), config: &ModelConfig| {
        let mut plan = Plan::new(config, &Custom::default()).unwrap();
        change(&mut plan);
        plan.validate().map(|()| plan)
    };
    let dense = config();
    let refused = refuse(&|p| p.layers.truncate(2), &dense);
    clash(refused, "blocks", "plans of 2 blocks", "sizes of 3");
    let refused = refuse(&|p| p.layers[1].gate = None, &dense);
    clash(
        refused,
        "block 1, mlp.gate",
        "no planned matrix",
        "an MLP of kind Swiglu",
    );
    let refused = refuse(&|p| p.dims.mlp = MlpKind::Gelu, &dense);
    clash(
        refused,
        "block 0, mlp.gate",
        "a planned matrix",
        "an MLP of kind Gelu",
    );
    let router = |p: &mut Plan| p.layers[2].router = Some(p.layers[2].q.clone());
    let refused = refuse(&router, &dense);
    clash(
        refused,
        "block 2, moe.router",
        "a planned matrix",
        "0 experts",
    );
    let refused = refuse(&|p| p.dims.experts.count = 4, &dense);
    clash(
        refused,
        "block 0, moe.router",
        "no planned matrix",
        "4 experts",
    );
    let refused = refuse(&|p| p.positions = Some(p.embedding.clone()), &dense);
    clash(
        refused,
        "embed.positions",
        "a planned matrix",
        "positions of kind Rope",
    );
    let learned = |p: &mut Plan| p.dims.positions = Positions::Learned;
    let refused = refuse(&learned, &dense);
    clash(
        refused,
        "embed.positions",
        "no planned matrix",
        "positions of kind Learned",
    );

    let mixture = ModelConfig {
        experts: ExpertsConfig {
            count: 4,
            ..ExpertsConfig::default()
        },
        ..config()
    };
    let sizes: [(&str, Change); 14] = [
        ("vocab_size", |p| p.dims.vocab = 0),
        ("dim", |p| p.dims.model = 0),
        ("layers", |p| p.dims.layers = 0),
        ("heads", |p| p.dims.heads = 0),
        ("kv_heads", |p| p.dims.kv_heads = 0),
        ("kv_heads", |p| p.dims.kv_heads = 3),
        ("head_dim", |p| p.dims.head = 0),
        ("head_dim", |p| p.dims.head = 7),
        ("hidden", |p| p.dims.hidden = 0),
        ("context", |p| p.dims.context = 0),
        ("rope_theta", |p| p.dims.rope_theta = f64::NAN),
        ("dropout", |p| p.dims.dropout = 1.0),
        ("experts.top_k", |p| p.dims.experts.top_k = 5),
        ("experts.top_k", |p| p.dims.experts.top_k = 0),
    ];
    for (key, change) in sizes {
        let refused = refuse(&change, &mixture).unwrap_err();
        assert!(
            matches!(&refused, PlanError::Size { key: k, .. } if *k == key),
            "{refused}"
        );
    }
}

/// What a folded plan no longer has must not make it a contradiction, and every scheme may lose its gains.
#[test]
fn whatever_follows_from_a_scheme_is_a_plan() {
    let device = burn::tensor::Device::flex();
    for subject in subjects() {
        let plan = plan(&subject);
        plan.validate().unwrap();
        let folded = fold(&plan, &Decoder::new(&plan, 0, &device), &device).unwrap();
        folded.plan.validate().unwrap();
    }
    for scheme in Scheme::all() {
        let named = ModelConfig {
            scale_vectors: ScaleVectors::None,
            ..config()
        };
        Plan::new(&named, scheme.strategy()).unwrap();
        let output = ModelConfig {
            scale: ScaleSwitches {
                gains: Some(Gains::Output),
                ..ScaleSwitches::default()
            },
            ..config()
        };
        Plan::new(&output, scheme.strategy()).unwrap();
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
    ] {
        let refused = build(bad).unwrap_err();
        assert!(matches!(refused, PlanError::Number { .. }), "{refused}");
    }
    build(gain(Form::OnePlus, 1.0, 0.0)).unwrap();
}
