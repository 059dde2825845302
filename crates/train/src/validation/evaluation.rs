//! What a validation entry measures, and with what.

use evenburn_data::{Batch, DataError, Score};
use evenburn_eval::{Passes, TokenRequest, TokenScore};

use super::ValidationSplit;
use crate::data_parallel::Ranks;
use crate::error::TrainError;
use crate::task::Task;

/// A model after a step, without gradients, with the text it is measured on and the ranks that compute.
///
/// What is asked of [`evaluate`](Self::evaluate) is shared out over all ranks of the run; what an entry computes by itself with
/// [`task`](Self::task), rank 0 computes alone. The numbers are the same.
#[derive(Debug)]
pub struct Evaluation<'e> {
    pub(super) task: &'e Task,
    pub(super) split: &'e ValidationSplit,
    pub(super) ranks: &'e mut Ranks,
}

impl<'e> Evaluation<'e> {
    /// The model.
    pub fn task(&self) -> &'e Task {
        self.task
    }

    /// The text.
    pub fn split(&self) -> &'e ValidationSplit {
        self.split
    }

    /// Loss on some batches, as [`evaluate`](crate::evaluate()) has it.
    ///
    /// # Errors
    /// As [`evaluate`](crate::evaluate()), and [`TrainError::Ranks`] where another rank fails.
    pub fn evaluate(
        &mut self,
        batches: impl Iterator<Item = Result<Batch, DataError>>,
    ) -> Result<Score, TrainError> {
        self.ranks.evaluate(self.task, batches)
    }

    /// Log-likelihoods of requests by a model that sees `context` tokens.
    pub(super) fn score(
        &mut self,
        requests: &[TokenRequest],
        context: usize,
        passes: Passes,
    ) -> Result<Vec<TokenScore>, TrainError> {
        let decoder = &self.task.decoder;
        self.ranks.score(decoder, requests, context, passes)
    }
}
