//! What monitors are shown of a step.

use std::time::Duration;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use evenburn_data::{NetworkTraffic, Position};
use evenburn_model::Decoder;
use evenburn_optim::StepReport;

use super::Probes;
use crate::data_parallel::RankTimes;
use crate::metrics::Record;
use crate::step::RouterLoads;
use crate::task::Task;

/// Which gradients a monitor is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradientsOf {
    /// One micro-batch of the step, counted from 0. Those of all of them add up to the step's.
    MicroBatch(usize),
    /// The whole step, before they are clipped.
    Step,
}

/// Gradients between the backward pass and the update.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct GradientView<'a> {
    /// The step, counted from 1.
    pub step: u64,
    /// Whose gradients they are.
    pub of: GradientsOf,
    /// The model before the update, whose parameters have the ids of the gradients.
    pub task: &'a Task,
    /// The gradients.
    pub gradients: &'a GradientsParams,
}

/// Where the time of a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StepTimes {
    /// Data, gradients and update of the step.
    pub step: Duration,
    /// Of that, until the data was there.
    pub data_wait: Duration,
    /// Of that, in monitors that looked at gradients.
    pub gradients: Duration,
    /// After the step, in forward passes that only monitors asked for.
    pub probes: Duration,
    /// After the step, in what is measured on validation text and by benchmarks.
    pub evaluation: Duration,
    /// Measuring, writing and showing the step before.
    pub observed_before: Duration,
    /// Of the step, with other ranks; nothing where there is one.
    pub ranks: Option<RankTimes>,
}

/// A step after its update. Nothing in it is a copy but what somebody asked for.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct StepView<'a> {
    /// The step, counted from 1.
    pub step: u64,
    /// Steps of the whole run.
    pub end: u64,
    /// The model after the update.
    pub task: &'a Task,
    /// Cross-entropy in nats per token of the step.
    pub loss: f64,
    /// The rate of the step.
    pub lr: f64,
    /// What the optimizer found.
    pub optimizer: &'a StepReport,
    /// What the routers of a mixture of experts did; empty without them.
    pub routers: &'a RouterLoads,
    /// The metric of a scheduled normalization.
    pub scheduled: Option<(&'static str, f64)>,
    /// Tokens of one step.
    pub step_tokens: u64,
    /// Tokens trained on, over all launches.
    pub tokens: u64,
    /// Where the training samples stand after the step.
    pub data: &'a Position,
    /// Where its time went.
    pub times: StepTimes,
    /// What went over the network so far, where text is fetched while it is trained on.
    pub traffic: Option<NetworkTraffic>,
    /// What validation entries measured after this step; empty where none was due.
    pub validation: &'a Record,
    pub(crate) weights_before: Option<&'a Decoder>,
    pub(crate) attention_scores: Option<&'a [Vec<f64>]>,
    pub(crate) activations: Option<&'a [Tensor<3>]>,
}

impl<'a> StepView<'a> {
    /// The model before the update, for who asked for [`Probes::weights_before`].
    pub fn weights_before(&self) -> Option<&'a Decoder> {
        self.weights_before
    }

    /// The largest score of attention on the last micro-batch, after the update and before it is clipped, by block and
    /// query head; for who asked for [`Probes::attention_scores`].
    pub fn attention_scores(&self) -> Option<&'a [Vec<f64>]> {
        self.attention_scores
    }

    /// The residual stream on the last micro-batch, `[B, T, D]`, as the model after the update has it: in front of the first
    /// block, then behind each; for who asked for [`Probes::activations`].
    pub fn activations(&self) -> Option<&'a [Tensor<3>]> {
        self.activations
    }

    /// The same view without what wasn't asked for.
    pub(super) fn only(mut self, wanted: Probes) -> Self {
        self.weights_before = self.weights_before.filter(|_| wanted.weights_before);
        self.attention_scores = self.attention_scores.filter(|_| wanted.attention_scores);
        self.activations = self.activations.filter(|_| wanted.activations);
        self
    }
}
