//! Functions that change in the course of a training run.

use super::{Around, Scales};
use burn::tensor::Tensor;
use std::fmt::Debug;

/// A moment of a training run, between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Steps that are taken.
    pub step: u64,
    /// Steps of the whole run.
    pub total: u64,
}

/// The schedule of a normalization function: in training it may measure what it reads, add to the loss, and set its own
/// arrays after a step.
///
/// Those before the branches and at the end of a decoder are asked. What it has to remember it keeps in arrays that are
/// state, [`ArrayPlan::state`](crate::plan::ArrayPlan::state): checkpoints hold them, so that a resumed run goes on as the
/// same.
pub trait Scheduled: Debug {
    /// Whether the step after `at` measures.
    fn measures(&self, at: Moment) -> bool;

    /// Means over the rows of `x [N, W]`, shape `[n]`, without gradients.
    fn measured(&self, x: Tensor<2>, around: &Around<'_>) -> Tensor<1>;

    /// What the step after `at` adds to the loss, in nats per token, shape `[1]`.
    fn penalty(&self, _at: Moment, _x: Tensor<2>, _around: &Around<'_>) -> Option<Tensor<1>> {
        None
    }

    /// New values of its arrays at `at`, by name; `measured` has the means over the step's tokens, and is empty where it
    /// didn't measure. `arrays` has the gain too, as `gain`.
    fn after_step(
        &self,
        at: Moment,
        arrays: Scales<'_>,
        measured: &[f64],
    ) -> Vec<(&'static str, Vec<f64>)>;

    /// A metric at `at`, by its name.
    fn metric(&self, _at: Moment) -> Option<(&'static str, f64)> {
        None
    }
}

/// The step that ends a part of a run, the first at least.
pub(super) fn end_of(part: f64, total: u64) -> u64 {
    ((part * total as f64).round() as u64).max(1)
}

/// An average that forgets: `(1 - rate) average + rate new`.
pub(super) fn averaged(average: Option<f64>, new: f64, rate: f64) -> f64 {
    (1.0 - rate) * average.unwrap_or(0.0) + rate * new
}
