//! Every check of `evenburn-conformance` on every scheme and variant, and what a decoder refuses.

use crate::common::{config, model, plan, subjects, tokens};
use burn::tensor::{DType, Device};
use evenburn_conformance::CHECKS;
use evenburn_model::strategy::{AnGpt, PreNorm, Scheme};
use evenburn_model::{Decoder, ModelConfig, Plan, weights};
use std::collections::BTreeMap;

/// One test per check, so that they run side by side.
macro_rules! checks {
    ($($check:ident),+ $(,)?) => {
        $(
            #[test]
            fn $check() {
                for subject in subjects() {
                    evenburn_conformance::$check(&subject);
                }
            }
        )+

        #[test]
        fn every_check_is_made() {
            let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($check)),+]);
        }
    };
}

checks!(
    each_parameter_is_planned_once,
    a_record_brings_back_every_bit,
    initial_weights_satisfy_their_constraints,
    initial_loss_is_near_that_of_a_uniform_guess,
    logits_are_finite_at_initialization,
    dropout_is_on_where_it_is_asked_for,
    a_later_token_changes_nothing_earlier,
    nothing_leaks_across_a_document_boundary,
    a_token_reaches_its_own_document_alone,
    ignored_targets_do_not_count,
    the_cache_changes_no_logit,
    gradients_match_finite_differences,
);

#[test]
fn number_formats_are_the_weights() {
    let device = Device::flex();
    let scheme = &subjects()[0];
    let hidden = model(scheme, &device).hidden(tokens(1, &device));
    assert_eq!(hidden.dtype(), DType::F64);
    let hidden = Decoder::new(&plan(scheme), 1, &device).hidden(tokens(1, &device));
    assert_eq!(hidden.dtype(), DType::F32);
}

#[test]
fn foreign_weights_are_refused_and_named() {
    let device = Device::flex();
    let build = || Decoder::new(&plan(&subjects()[0]), 1, &device);
    let values: BTreeMap<_, _> = weights::collect(&build()).into_iter().collect();
    let mut missing = values.clone();
    missing.remove("head.weight");
    let message = weights::replace(build(), missing).unwrap_err().to_string();
    assert!(message.contains("missing [head.weight]"), "{message}");
    let mut unexpected = values.clone();
    unexpected.insert(
        "blocks.9.attn.q.weight".into(),
        values["head.weight"].clone(),
    );
    let message = weights::replace(build(), unexpected)
        .unwrap_err()
        .to_string();
    assert!(message.contains("blocks.9"), "{message}");
    let mut shape = values.clone();
    shape.insert("head.weight".into(), values["embed.weight"].clone());
    let message = weights::replace(build(), shape).unwrap_err().to_string();
    assert!(
        message.contains("head.weight") && message.contains("[24, 37]"),
        "{message}"
    );
}

#[test]
fn contradictory_decisions_are_refused() {
    let bad = AnGpt {
        alpha_scale: 0.0,
        ..AnGpt::default()
    };
    let message = Plan::new(&config(), &bad).unwrap_err().to_string();
    assert!(
        message.contains("angpt") && message.contains("block 0"),
        "{message}"
    );
    let bad = PreNorm {
        eps: f64::NAN,
        ..PreNorm::default()
    };
    assert!(Plan::new(&config(), &bad).is_err());
}

#[test]
fn dropout_is_less_than_everything() {
    let bad = ModelConfig {
        dropout: 1.0,
        ..config()
    };
    let error = Scheme::default().plan(&bad).unwrap_err();
    assert!(error.to_string().contains("model.dropout"), "{error}");
}
