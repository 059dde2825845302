//! Scale vectors against the formulas of 2605.26895v1 (section 3) and of SDD (2502.15499, equation 1).

use crate::common::config;
use evenburn_model::plan::{Form, GainPlan, GainRole, LinearPlan, NormPlan, Over};
use evenburn_model::strategy::{
    AnGpt, NormStrategy, PostNorm, PreNorm, QkNorm, SimpleNorm, Statistics,
};
use evenburn_model::{
    Double, DoubleAt, GainDecay, HeadScale, ModelConfig, NormalizedOver, OutputBefore, OutputInit,
    Placement, Plan, PlanError, ScaleSwitches, ScaleVectors, Site, Stored,
};

const READERS: [Site; 5] = [Site::Q, Site::K, Site::V, Site::Gate, Site::Up];
const WRITERS: [Site; 2] = [Site::O, Site::Down];

/// A Llama: no q/k norm, gains that don't decay.
fn llama() -> PreNorm {
    PreNorm {
        qk: QkNorm::None,
        ..PreNorm::default()
    }
}

fn with(
    strategy: &dyn NormStrategy,
    named: ScaleVectors,
    scale: ScaleSwitches,
) -> Result<Plan, PlanError> {
    let config = ModelConfig {
        scale_vectors: named,
        scale,
        ..config()
    };
    Plan::new(&config, strategy)
}

fn switched(strategy: &dyn NormStrategy, scale: ScaleSwitches) -> Plan {
    with(strategy, ScaleVectors::Standard, scale).unwrap()
}

fn gain(form: Form, role: GainRole, decay: bool) -> GainPlan {
    GainPlan {
        form,
        decay,
        ..GainPlan::ones(role)
    }
}

/// An RMS normalization without a gain.
fn between(over: Over) -> NormPlan {
    NormPlan {
        over,
        gain: None,
        ..NormPlan::rms(1e-5, GainRole::Output)
    }
}

fn each(plan: &Plan, sites: &[Site], expected: impl Fn(Site) -> LinearPlan) {
    for (index, layer) in plan.layers.iter().enumerate() {
        for site in sites {
            let found = &layer.site(*site).unwrap().linear;
            assert_eq!(found, &expected(*site), "block {index}, {site}");
        }
    }
}

/// Whether the two pre-norms of every block have a gain.
fn pre_norms_have_gains(plan: &Plan) -> bool {
    let residuals = plan
        .layers
        .iter()
        .flat_map(|layer| [&layer.attn_residual, &layer.mlp_residual]);
    let gains: Vec<bool> = residuals
        .map(|residual| residual.input.as_ref().unwrap().gain.is_some())
        .collect();
    assert!(gains.iter().all(|gained| *gained == gains[0]));
    gains[0]
}

#[test]
fn maps_that_write_the_stream_may_have_a_scale_on_their_input() {
    let before = |asked, double| ScaleSwitches {
        output_before: Some(asked),
        double,
        double_at: Some(DoubleAt::All),
        ..ScaleSwitches::default()
    };
    let input = Some(GainPlan::ones(GainRole::Input));
    let output = Some(GainPlan::ones(GainRole::Output));
    for (asked, double, input, output) in [
        (OutputBefore::Paired, None, None, None),
        (
            OutputBefore::Paired,
            Some(Double::Plain),
            input.clone(),
            output.clone(),
        ),
        (
            OutputBefore::None,
            Some(Double::Plain),
            None,
            output.clone(),
        ),
        (
            OutputBefore::Gain,
            Some(Double::Plain),
            input.clone(),
            output,
        ),
        (OutputBefore::Gain, None, input, None),
    ] {
        let plan = switched(&llama(), before(asked, double));
        each(&plan, &WRITERS, |_| LinearPlan {
            before: input.clone(),
            after: output.clone(),
            ..LinearPlan::default()
        });
        assert!(pre_norms_have_gains(&plan));
    }
    let alone = before(OutputBefore::Gain, Some(Double::After));
    let error = with(&llama(), ScaleVectors::Standard, alone)
        .unwrap_err()
        .to_string();
    for part in ["scale.output_before", "scale.double"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn unified_is_the_printed_combination() {
    let plan = with(&llama(), ScaleVectors::Unified, ScaleSwitches::default()).unwrap();
    let unit = |role, decay| gain(Form::UnitProduct, role, decay);
    // HG + DNP + OR + IWD at the linear maps that read a normalization.
    each(&plan, &READERS, |site| LinearPlan {
        before: Some(unit(GainRole::Input, true)),
        norm: Some(between(match site {
            Site::Gate | Site::Up => Over::Full,
            _ => Over::PerHead,
        })),
        after: Some(unit(GainRole::Output, false)),
        ..LinearPlan::default()
    });
    each(&plan, &WRITERS, |_| LinearPlan::default());
    assert!(!pre_norms_have_gains(&plan));
    let last = plan.ends.head.final_norm.as_ref().unwrap();
    assert_eq!(last.gain, Some(unit(GainRole::Input, true)));
    assert_eq!(
        plan.ends.head.logit_gain,
        Some(unit(GainRole::Output, false))
    );

    // The same spelled out.
    let spelled = ScaleSwitches {
        placement: Some(Placement::Heterogeneous),
        double: Some(Double::Normalized),
        double_at: Some(DoubleAt::Readers),
        normalized_over: Some(NormalizedOver::Head),
        head: Some(HeadScale::Gain),
        stored: Some(Stored::UnitProduct),
        decay: Some(GainDecay::Literal),
        ..ScaleSwitches::default()
    };
    assert_eq!(switched(&llama(), spelled), plan);
}

#[test]
fn scales_may_stand_behind_the_maps_alone() {
    let after = |double| ScaleSwitches {
        double: Some(double),
        ..ScaleSwitches::default()
    };
    for (double, norm) in [(Double::After, false), (Double::NormalizedAfter, true)] {
        let plan = switched(&llama(), after(double));
        each(&plan, &READERS, |site| LinearPlan {
            norm: norm.then(|| {
                between(match site {
                    Site::Gate | Site::Up => Over::Full,
                    _ => Over::PerHead,
                })
            }),
            after: Some(GainPlan::ones(GainRole::Output)),
            ..LinearPlan::default()
        });
        each(&plan, &WRITERS, |_| LinearPlan::default());
        assert!(!pre_norms_have_gains(&plan));
        assert!(plan.ends.head.final_norm.unwrap().gain.is_some());
    }
    // Where the maps that read the pre-norms have none, these keep theirs.
    let writers = ScaleSwitches {
        double_at: Some(DoubleAt::BlockOutputs),
        ..after(Double::After)
    };
    assert!(pre_norms_have_gains(&switched(&llama(), writers)));
}

#[test]
fn placements_outside_the_paper_are_still_there() {
    let all = ScaleSwitches {
        double: Some(Double::Normalized),
        double_at: Some(DoubleAt::All),
        normalized_over: Some(NormalizedOver::Full),
        stored: Some(Stored::ExpProduct),
        ..ScaleSwitches::default()
    };
    let plan = switched(&llama(), all);
    let exp = |role| gain(Form::ExpProduct, role, false);
    let sides = |before| LinearPlan {
        before,
        norm: Some(between(Over::Full)),
        after: Some(exp(GainRole::Output)),
        ..LinearPlan::default()
    };
    each(&plan, &READERS, |_| sides(None));
    each(&plan, &WRITERS, |_| sides(Some(exp(GainRole::Input))));
    assert!(pre_norms_have_gains(&plan));
    assert_eq!(plan.ends.head.logit_gain, None);
}

#[test]
fn sdd_scales_every_normalized_product() {
    let post = PostNorm {
        norm: Statistics::Rms,
        ..PostNorm::default()
    };
    let sdd = ScaleSwitches {
        double: Some(Double::NormalizedAfter),
        double_at: Some(DoubleAt::All),
        normalized_over: Some(NormalizedOver::Full),
        output_init: Some(OutputInit::PerLayer),
        ..ScaleSwitches::default()
    };
    let plan = switched(&post, sdd);
    let scaled = |start| LinearPlan {
        norm: Some(between(Over::Full)),
        after: Some(GainPlan {
            init: start,
            scale: start,
            ..GainPlan::ones(GainRole::Output)
        }),
        ..LinearPlan::default()
    };
    each(&plan, &READERS, |_| scaled(1.0));
    // Three blocks.
    each(&plan, &WRITERS, |_| scaled(1.0 / 3.0_f64.sqrt()));
}

#[test]
fn a_gain_that_the_scheme_has_behind_a_product_starts_where_asked() {
    let sdd = ScaleSwitches {
        double: Some(Double::NormalizedAfter),
        double_at: Some(DoubleAt::All),
        output_init: Some(OutputInit::PerLayer),
        ..ScaleSwitches::default()
    };
    let plan = switched(&SimpleNorm::default(), sdd);
    for layer in &plan.layers {
        for site in Site::BLOCK {
            let linear = &layer.site(site).unwrap().linear;
            let gain = linear.norm.as_ref().unwrap().gain.as_ref().unwrap();
            // Three blocks.
            let start = if site.writes_stream() {
                1.0 / 3.0_f64.sqrt()
            } else {
                1.0
            };
            assert!((gain.init - start).abs() < 1e-12 && linear.after.is_none());
        }
    }
}

#[test]
fn a_scale_of_the_logits_that_the_scheme_has_stays() {
    let head = ScaleSwitches {
        head: Some(HeadScale::Gain),
        stored: Some(Stored::CenteredExp),
        ..ScaleSwitches::default()
    };
    let own = Plan::new(&config(), &AnGpt::default()).unwrap();
    let plan = switched(&AnGpt::default(), head);
    assert_eq!(plan.ends.head.logit_gain, own.ends.head.logit_gain);
    let added = switched(&llama(), head).ends.head.logit_gain.unwrap();
    assert_eq!(added, gain(Form::CenteredExp, GainRole::Output, false));
    assert_eq!(
        (added.stored_init(), added.magnitude_init()),
        (0.0, Some(0.0))
    );
}

#[test]
fn switches_that_contradict_each_other_are_refused() {
    let refused = |scale, first: &str, second: &str| {
        let error = with(&llama(), ScaleVectors::Standard, scale).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(first), "{message}");
        assert!(message.contains(second), "{message}");
    };
    let both = ScaleSwitches {
        placement: Some(Placement::Heterogeneous),
        double: Some(Double::After),
        ..ScaleSwitches::default()
    };
    refused(both, "scale.placement", "scale.double");
    let nothing = ScaleSwitches {
        double: Some(Double::Plain),
        output_init: Some(OutputInit::PerLayer),
        ..ScaleSwitches::default()
    };
    refused(nothing, "scale.output_init", "scale.double_at");
}
