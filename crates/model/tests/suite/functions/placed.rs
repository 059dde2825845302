//! Where a function takes the place of a scheme's RMSNorm, and which places are refused.

use super::EPS;
use crate::common::{config, plan, subjects};
use evenburn_model::function::{
    Function, GatedNorm, Layer, Placed, PlacedAt, PreAffine, SeedNorm, Taper,
};
use evenburn_model::plan::{GainPlan, GainRole, NormPlan};
use evenburn_model::strategy::{Bias, Decay, Olmo2, PreNorm, Statistics};
use evenburn_model::{Kinds, ModelConfig, ParamRole, Placement, Plan, ScaleSwitches};

fn with_function(placed: Placed, strategy: &PreNorm) -> Plan {
    let config = ModelConfig {
        function: Some(placed),
        ..config()
    };
    Plan::new(&config, strategy).unwrap()
}

#[test]
fn a_function_stands_where_it_is_meant_to() {
    let everywhere = with_function(SeedNorm { heads: 3 }.into(), &PreNorm::default());
    let inputs = with_function(Taper::default().into(), &PreNorm::default());
    let chosen = Placed {
        at: Some(PlacedAt::Inputs),
        ..SeedNorm::default().into()
    };
    let chosen = with_function(chosen, &PreNorm::default());
    for (plan, name, last) in [
        (&everywhere, "seed_norm", true),
        (&inputs, "taper", false),
        (&chosen, "seed_norm", false),
    ] {
        for layer in &plan.layers {
            for residual in [&layer.attn_residual, &layer.mlp_residual] {
                let norm = residual.input.as_ref().unwrap();
                assert_eq!(norm.function.name(), name);
                // No matrix can absorb a gain that isn't last.
                assert_eq!(norm.gain.as_ref().unwrap().role, GainRole::Output);
            }
            // Normalizations of products are no part of it.
            assert_eq!(layer.q.linear.norm.as_ref().unwrap().function.name(), "rms");
        }
        let end = plan.ends.head.final_norm.as_ref().unwrap();
        assert_eq!(end.function.name() == name, last);
    }
    let affine = with_function(PreAffine {}.into(), &PreNorm::default());
    let end = affine.ends.head.final_norm.unwrap();
    assert_eq!(end.gain.unwrap().role, GainRole::Input);
}

#[test]
fn arrays_decay_as_their_gain_and_matrices_as_matrices() {
    let strategy = |decay| PreNorm {
        decay,
        bias: Bias::Learned,
        ..PreNorm::default()
    };
    for decay in [Decay::Matrices, Decay::All] {
        let all = decay == Decay::All;
        for (placed, arrays) in [
            (Placed::from(SeedNorm::default()), &["dyn", "seed"][..]),
            (PreAffine {}.into(), &["lambda"]),
            (Taper::default().into(), &["copy"]),
        ] {
            let specs = with_function(placed, &strategy(decay)).params();
            for array in arrays {
                let path = format!("blocks.1.mlp_residual.input.{array}");
                let spec = specs.iter().find(|s| s.path == path).unwrap();
                assert_eq!((spec.decay, spec.role), (all, ParamRole::Gain), "{path}");
            }
        }
        let specs = with_function(GatedNorm::default().into(), &strategy(decay)).params();
        for (array, shape) in [("down", [24, 16]), ("up", [16, 24])] {
            let path = format!("final_norm.{array}");
            let spec = specs.iter().find(|s| s.path == path).unwrap();
            assert_eq!((spec.decay, spec.role), (true, ParamRole::Matrix), "{path}");
            assert_eq!(spec.shape, shape);
        }
    }
}

/// The message of a refusal has all of these.
fn refused(
    config: &ModelConfig,
    strategy: &dyn evenburn_model::strategy::NormStrategy,
    parts: &[&str],
) {
    let message = Plan::new(config, strategy).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn what_can_not_be_is_refused_by_both_decisions() {
    let placed = |function: Placed| ModelConfig {
        function: Some(function),
        ..config()
    };
    let taper = placed(Taper::default().into());
    let nowhere = ["model.function.name = \"taper\"", "without RMSNorm"];
    refused(&taper, &Olmo2::default(), &nowhere);
    let layer_norm = PreNorm {
        norm: Statistics::Layer,
        ..PreNorm::default()
    };
    refused(&taper, &layer_norm, &nowhere);
    let heads = placed(SeedNorm { heads: 7 }.into());
    let parts = ["block 0", "SeeDNorm of 7 parts", "24 channels"];
    refused(&heads, &PreNorm::default(), &parts);
    let rank = placed(GatedNorm { rank: 0 }.into());
    refused(&rank, &PreNorm::default(), &["a gate of rank 0"]);
    for gate in [-0.1, 1.5, f64::NAN] {
        let gate = placed(Taper::fixed(gate, 1.0).into());
        refused(&gate, &PreNorm::default(), &["a gate of"]);
    }
    let c = placed(Taper::fixed(0.5, 0.0).into());
    refused(&c, &PreNorm::default(), &["a constant of 0"]);
    let moved = ModelConfig {
        scale: ScaleSwitches {
            placement: Some(Placement::Heterogeneous),
            ..ScaleSwitches::default()
        },
        ..placed(SeedNorm::default().into())
    };
    let parts = ["`seed_norm`", "scale vectors per linear map"];
    refused(&moved, &PreNorm::default(), &parts);
}

#[test]
fn no_matrix_is_promised_a_gain_that_is_not_last() {
    let subjects = subjects();
    let subject = subjects.iter().find(|s| s.name == "pre_norm").unwrap();
    let mut plan = plan(subject);
    let input = plan.layers[1].mlp_residual.input.as_mut().unwrap();
    input.function = SeedNorm::default().into();
    let message = plan.validate().unwrap_err().to_string();
    for part in ["block 1, mlp_residual, input norm", "absorb", "`seed_norm`"] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let input = plan.layers[1].mlp_residual.input.as_mut().unwrap();
    input.gain = Some(GainPlan::ones(GainRole::Output));
    plan.validate().unwrap();
}

/// Its size forgotten anyway, a vector need not be normalized before.
#[test]
fn a_norm_that_is_undone_by_a_function_is_refused() {
    let bare = NormPlan {
        gain: None,
        ..NormPlan::rms(EPS, GainRole::Output)
    };
    for (function, undone) in [
        (Function::from(GatedNorm::default()), true),
        (PreAffine {}.into(), true),
        (SeedNorm::default().into(), false),
        (Taper::default().into(), false),
        (Layer {}.into(), true),
    ] {
        let mut plan = Plan::new(&config(), &PreNorm::default()).unwrap();
        plan.layers[2].mlp_residual.after = Some(bare.clone());
        let end = plan.ends.head.final_norm.as_mut().unwrap();
        end.function = function.clone();
        end.gain = Some(GainPlan::ones(GainRole::Output));
        assert_eq!(plan.validate().is_err(), undone, "{}", function.name());
    }
}

#[test]
fn a_section_is_read_back_and_resolved() {
    let text =
        serde_json::json!({ "function": { "name": "seed_norm", "heads": 3, "at": "inputs" } });
    let mut read: ModelConfig = serde_json::from_value(text).unwrap();
    // Nobody has looked it up yet.
    let unknown = Plan::new(
        &ModelConfig {
            function: read.function.clone(),
            ..config()
        },
        &PreNorm::default(),
    );
    assert!(unknown.unwrap_err().to_string().contains("`seed_norm`"));
    Kinds::default().resolve_config(&mut read).unwrap();
    let placed = Placed {
        at: Some(PlacedAt::Inputs),
        ..SeedNorm { heads: 3 }.into()
    };
    assert_eq!(read.function, Some(placed));
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(
        written["function"],
        serde_json::json!({ "name": "seed_norm", "heads": 3, "at": "inputs" })
    );

    for (section, part) in [
        (serde_json::json!({ "name": "no_such" }), "`no_such`"),
        (
            serde_json::json!({ "name": "seed_norm", "head": 3 }),
            "unknown field `head`",
        ),
    ] {
        let text = serde_json::json!({ "function": section });
        let mut read: ModelConfig = serde_json::from_value(text).unwrap();
        let message = Kinds::default()
            .resolve_config(&mut read)
            .unwrap_err()
            .to_string();
        assert!(message.contains(part), "{message}");
    }
    let nameless = serde_json::json!({ "function": { "heads": 3 } });
    let message = serde_json::from_value::<ModelConfig>(nameless).unwrap_err();
    assert!(message.to_string().contains("`name`"), "{message}");
}

#[test]
fn a_scheduled_taper_brings_the_norm_that_holds_the_stream() {
    let scheduled = with_function(Taper::default().into(), &PreNorm::default());
    let end = scheduled.ends.head.final_norm.unwrap();
    assert_eq!(end.function.name(), "anchored");
    assert_eq!(end.gain.unwrap().role, GainRole::Input);
    for taper in [
        Taper::fixed(0.5, 1.0),
        Taper {
            penalty: 0.0,
            ..Taper::default()
        },
    ] {
        let plan = with_function(taper.into(), &PreNorm::default());
        assert_eq!(plan.ends.head.final_norm.unwrap().function.name(), "rms");
    }
    let everywhere = Placed {
        at: Some(PlacedAt::InputsAndFinal),
        ..Taper::default().into()
    };
    let config = ModelConfig {
        function: Some(everywhere),
        ..config()
    };
    let parts = [
        "model.function.at = \"inputs_and_final\"",
        "the loss of its schedule",
    ];
    refused(&config, &PreNorm::default(), &parts);
}
