//! One optimizer step, in two halves: the gradients of its micro-batches, and the update.
//!
//! ```text
//! micro-batches --sum_gradients--> StepGradients --update--> the model after the step, Updated
//! ```
//!
//! [`Task::step`] is both; the trainer's loop lets monitors look at the gradients in between.

mod gradients;
mod qk_clip;
mod update;

pub(crate) use gradients::Figures;
pub use gradients::{RouterLoads, StepGradients};
pub(crate) use qk_clip::{check as check_qk_clip, largest_scores};
pub use update::Updated;

use evenburn_data::Batch;
use evenburn_model::function::Moment;
use evenburn_optim::Engine;

use crate::error::TrainError;
use crate::task::Task;

/// What a step has to know beside its batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepInfo {
    /// Seed of the run, for dropout.
    pub seed: u64,
    /// The moment of the run before the step.
    pub before: Moment,
    /// Part of the peak rates, from the schedule: [`Schedule::factor`](evenburn_optim::Schedule::factor).
    pub factor: f64,
    /// Bound of the attention scores, `optim.qk_clip`; 0 leaves them alone.
    pub qk_clip: f64,
}

impl StepInfo {
    /// The number of the step, counted from 1.
    pub fn step(&self) -> u64 {
        self.before.step + 1
    }
}

impl Task {
    /// One optimizer step on micro-batches, with all that belongs to one: the loss over the tokens of all of them, dropout,
    /// the penalties of routers and scheduled normalizations, clipping, the update, the routers' corrections, the schedule of
    /// normalizations, and the bound on attention scores.
    ///
    /// # Errors
    /// [`TrainError::Tokens`] for a token that the model doesn't have, [`TrainError::NonFinite`] for a loss or a gradient that
    /// is no number, [`TrainError::Optim`] for an engine that isn't this model's.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use evenburn_data::{Batch, Boundaries, DocumentMask, Sample};
    /// use evenburn_model::function::Moment;
    /// use evenburn_model::{Decoder, ModelConfig, Plan, strategy::AnGpt};
    /// use evenburn_optim::OptimConfig;
    /// use evenburn_train::step::StepInfo;
    /// use evenburn_train::{Task, groups};
    ///
    /// let model = ModelConfig { vocab_size: 32, dim: 16, layers: 1, heads: 2, context: 8, ..Default::default() };
    /// let plan = Plan::new(&model, &AnGpt::default())?;
    /// let decoder = Decoder::new(&plan, 1, &Device::flex().autodiff());
    /// let mut engine = groups::engine(&plan, &OptimConfig::default(), 4, &decoder)?;
    /// let mut task = Task::new(decoder, DocumentMask::Across);
    ///
    /// let mut batch = Batch::new(8);
    /// let sample = Sample { tokens: (0..9).collect(), bytes: None };
    /// batch.push(&sample, Boundaries { eod: 31, bos: None });
    /// let mut losses = Vec::new();
    /// for step in 0..4 {
    ///     let info = StepInfo { seed: 1, before: Moment { step, total: 4 }, factor: 1.0, qk_clip: 0.0 };
    ///     let (next, updated) = task.step(&mut engine, vec![batch.clone()], &info)?;
    ///     task = next;
    ///     losses.push(updated.loss);
    /// }
    /// assert!(losses[3] < losses[0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn step(
        self,
        engine: &mut Engine,
        batches: Vec<Batch>,
        info: &StepInfo,
    ) -> Result<(Self, Updated), TrainError> {
        batches.iter().try_for_each(|batch| self.check(batch))?;
        let clipped = batches.last().filter(|_| info.qk_clip > 0.0).cloned();
        let gradients = self.sum_gradients(batches, info, |_, _| Ok(()))?;
        self.update(engine, gradients, info, clipped.as_ref())
    }
}
