//! A conformance suite for normalization schemes: a test of your own scheme calls [`check`].
//!
//! ```
//! use evenburn_conformance::{Subject, each_parameter_is_planned_once};
//! use evenburn_model::strategy::PreNorm;
//!
//! each_parameter_is_planned_once(&Subject::of(PreNorm::default()));
//! ```
//!
//! Everything is computed on the CPU, on a model so small that all checks of a scheme take seconds.

// A check panics where something doesn't hold: it is part of a test.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used)]

mod gradients;
mod measure;
mod parameters;
mod reach;
mod start;
mod subject;

pub use gradients::gradients_match_finite_differences;
pub use measure::{by_path, distance, numbers, values, with};
pub use parameters::{a_record_brings_back_every_bit, each_parameter_is_planned_once};
pub use reach::{
    a_later_token_changes_nothing_earlier, a_token_reaches_its_own_document_alone,
    ignored_targets_do_not_count, nothing_leaks_across_a_document_boundary,
    the_cache_changes_no_logit,
};
pub use start::{
    dropout_is_on_where_it_is_asked_for, initial_loss_is_near_that_of_a_uniform_guess,
    initial_weights_satisfy_their_constraints, logits_are_finite_at_initialization,
};
pub use subject::{Subject, VOCAB, config, tokens};

use evenburn_model::Scheme;

/// A check with its name.
pub type Check = (&'static str, fn(&Subject));

/// Names the functions of a list.
macro_rules! named {
    ($($check:ident),+ $(,)?) => { &[$((stringify!($check), $check as fn(&Subject))),+] };
}

/// Every check.
pub const CHECKS: &[Check] = named![
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
];

/// Makes every check of a scheme, with the options it has, in each of [`Subject::bodies`].
///
/// # Panics
/// Where something doesn't hold, with the name of the subject.
pub fn check(scheme: impl Into<Scheme>) {
    for subject in Subject::bodies(&scheme.into()) {
        for (_, check) in CHECKS {
            check(&subject);
        }
    }
}
