//! A second component of the stream needs branches that write it and an end that reads it.

use super::{Custom, biased, clash, gained, rms};
use evenburn_model::plan::{CompanionPlan, GainPlan, GainRole, HeadPlan, JoinPlan, ResidualPlan};
use evenburn_model::strategy::SiameseNorm;
use evenburn_model::{Gains, ModelConfig, Plan, PlanError, ScaleSwitches, ScaleVectors};

fn companion() -> CompanionPlan {
    CompanionPlan {
        scale: None,
        norm: Some(gained(rms())),
        factor: 0.5,
    }
}

fn joined(stream: Option<evenburn_model::plan::NormPlan>) -> HeadPlan {
    let companion = Some(rms());
    HeadPlan {
        join: Some(JoinPlan { stream, companion }),
        ..HeadPlan::plain()
    }
}

fn custom(companion: CompanionPlan) -> Custom {
    Custom {
        residual: ResidualPlan {
            companion: Some(companion),
            ..ResidualPlan::plain()
        },
        head: joined(Some(rms())),
        ..Custom::default()
    }
}

#[test]
fn a_component_begins_and_ends() {
    custom(companion()).build().unwrap();
    let open = Custom {
        head: HeadPlan::plain(),
        ..custom(companion())
    };
    clash(
        open.build(),
        "block 0, attn_residual",
        "a companion of the stream",
        "an end that joins nothing",
    );
    let single = Custom {
        residual: ResidualPlan::plain(),
        ..custom(companion())
    };
    clash(
        single.build(),
        "join",
        "an end that joins two components",
        "branches without a companion",
    );
}

#[test]
fn its_numbers_and_scales_are_checked() {
    let refused = custom(CompanionPlan {
        factor: 0.0,
        ..companion()
    });
    let refused = refused.build().unwrap_err();
    assert!(matches!(refused, PlanError::Number { .. }), "{refused}");
    let norm = Some(rms().per_head());
    let refused = custom(CompanionPlan {
        norm,
        ..companion()
    });
    clash(
        refused.build(),
        "block 0, attn_residual, companion norm",
        "a normalization per head",
        "a vector that is not split into heads",
    );
    let scale = Some(GainPlan::ones(GainRole::Input));
    let refused = custom(CompanionPlan {
        scale,
        ..companion()
    });
    clash(
        refused.build(),
        "block 0, attn_residual, scale beside the companion",
        "a scale for a linear map to absorb",
        "the stream behind it",
    );
    let mut absorbed = gained(rms());
    absorbed.gain = Some(GainPlan::ones(GainRole::Input));
    let refused = Custom {
        head: joined(Some(absorbed)),
        ..custom(companion())
    };
    clash(
        refused.build(),
        "stream norm at the join",
        "a scale for a linear map to absorb",
        "the sum with the other component behind it",
    );
}

/// What a branch reads beside a companion is a sum, which its input norm does something to.
#[test]
fn norms_in_a_row_are_those_of_one_component() {
    let mut both = custom(companion());
    both.residual.stream = Some(rms());
    both.residual.input = Some(rms());
    both.build().unwrap();
    both.residual.companion = None;
    both.head = HeadPlan::plain();
    let second = "the input norm right behind it, which repeats it";
    clash(
        both.build(),
        "block 0, attn_residual",
        "the stream norm",
        second,
    );

    let mut after = custom(companion());
    after.residual.after = Some(rms());
    clash(
        after.build(),
        "join",
        "the norm after block 2, mlp_residual",
        "the norm of the stream right behind it, which undoes it",
    );
    after.residual.after = Some(biased(rms()));
    after.build().unwrap();
}

#[test]
fn its_gains_are_among_the_scale_vectors() {
    let gains = |config: &ModelConfig| {
        let plan = Plan::new(config, &SiameseNorm::default()).unwrap();
        let paths = plan.params().into_iter().map(|spec| spec.path);
        paths.filter(|path| path.contains("gain")).count()
    };
    let standard = crate::common::config();
    // Three norms around each of six branches, three at the end.
    assert_eq!(gains(&standard), 21);
    let none = ModelConfig {
        scale_vectors: ScaleVectors::None,
        ..standard.clone()
    };
    assert_eq!(gains(&none), 0);
    let output = ModelConfig {
        scale: ScaleSwitches {
            gains: Some(Gains::Output),
            ..ScaleSwitches::default()
        },
        ..standard
    };
    // A linear map follows the input norms and the final one.
    assert_eq!(gains(&output), 14);
}
