//! Scales that are said to have a linear map behind them where something else stands.

use super::{Custom, clash, gained, normed, rms};
use crate::common::config;
use evenburn_model::plan::{
    GainPlan, GainRole, LerpFactor, LinearPlan, MixPlan, NormPlan, ResidualPlan,
};
use evenburn_model::{MlpKind, ModelConfig, Plan, Site};

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
    let at = |site| Custom {
        site,
        linear: normed(norm.clone()),
        ..Custom::default()
    };
    for site in [Site::V, Site::Up] {
        at(site).build().unwrap();
    }
    // A plain MLP has its activation behind the only branch.
    for mlp in [MlpKind::Gelu, MlpKind::GeluTanh, MlpKind::Relu2] {
        let plain = ModelConfig { mlp, ..config() };
        let refused = Plan::new(&plain, &at(Site::Up));
        clash(refused, "block 0, mlp.up, norm", promise, "the activation");
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

    let at_an_end = |change: &dyn Fn(&mut Custom)| {
        let mut custom = Custom::default();
        change(&mut custom);
        custom.build()
    };
    let refused = at_an_end(&|custom| custom.embedding.norm = Some(norm.clone()));
    clash(refused, "embed, norm", promise, "the stream behind it");
    let refused = at_an_end(&|custom| custom.embedding.gain = Some(input.clone()));
    clash(refused, "embed", promise, "the stream behind it");
    let refused = at_an_end(&|custom| custom.head.logit_gain = Some(input.clone()));
    clash(refused, "logits", promise, "the softmax");
    at_an_end(&|custom| custom.head.final_norm = Some(norm.clone())).unwrap();
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
    plan.ends.head.final_norm = Some(norm);
    let refused = plan.validate().map(|()| plan);
    let place = "block 2, mlp_residual, norm after";
    clash(
        refused,
        place,
        "a scale for a linear map",
        "the stream behind it",
    );
}
