//! What a run came to.

use std::path::PathBuf;

use crate::memory;
use crate::metrics::Record;
use crate::run_dir::RunDir;
use crate::training_loop::{Ended, Outcome};

/// What a run came to and where everything is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Why it ended.
    pub ended: Ended,
    /// The run directory.
    pub run: PathBuf,
    /// Optimizer steps done, over all launches.
    pub step: u64,
    /// Optimizer steps of the budget.
    pub total: u64,
    /// Tokens trained on, over all launches.
    pub tokens: u64,
    /// Training loss of the last step of this launch.
    pub loss: Option<f64>,
    /// What the last evaluation of this launch measured, `val/loss` among it.
    pub validation: Option<Record>,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
    /// The generated text and the file it is in.
    pub sample: Option<(PathBuf, String)>,
    /// Seconds of this launch, from its first step on.
    pub seconds: f64,
    /// Tokens trained on per second of this launch, evaluations and checkpoints included.
    pub tokens_per_sec: f64,
    /// Largest resident set of the process, in bytes.
    pub peak_rss: Option<u64>,
}

impl Summary {
    pub(super) fn new(
        run: &RunDir,
        outcome: Outcome,
        step_tokens: u64,
        sample: Option<(PathBuf, String)>,
    ) -> Self {
        Self {
            ended: outcome.ended,
            run: run.path().to_owned(),
            step: outcome.state.step,
            total: outcome.total,
            tokens: outcome.state.tokens,
            loss: outcome.loss,
            validation: outcome.validation,
            checkpoint: outcome.checkpoint,
            sample,
            seconds: outcome.seconds,
            tokens_per_sec: (outcome.steps_done * step_tokens) as f64
                / outcome.seconds.max(f64::MIN_POSITIVE),
            peak_rss: memory::peak_rss(),
        }
    }
}
