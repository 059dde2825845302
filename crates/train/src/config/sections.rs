//! The sections the trainer owns: `[run]`, `[train]`, `[ranks]` and `[metrics]`.

use std::num::NonZeroU64;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DeviceList;
use crate::error::TrainError;

/// Where a run lives and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunSection {
    /// Name of the run, the second half of its directory's name.
    pub name: String,
    /// Folder that holds the run directories.
    pub dir: PathBuf,
}

impl Default for RunSection {
    fn default() -> Self {
        Self {
            name: "run".to_owned(),
            dir: PathBuf::from("runs"),
        }
    }
}

macro_rules! devices {
    ($($(#[$about:meta])* $name:ident = $text:literal,)*) => {
        /// The backend a run computes on; which ones exist depends on the features of the build.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
        pub enum DeviceName {
            $($(#[$about])* #[serde(rename = $text)] $name,)*
        }

        impl DeviceName {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in a configuration, which is that of the program's feature.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

include!("devices.rs");

/// The number format of matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrecisionName {
    /// Single precision.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
}

impl From<PrecisionName> for evenburn_model::Precision {
    fn from(precision: PrecisionName) -> Self {
        match precision {
            PrecisionName::F32 => Self::F32,
            PrecisionName::Bf16 => Self::Bf16,
        }
    }
}

/// The budget of a run and what happens along its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Budget in optimizer steps; give this or `train.tokens`. A run may be resumed with another one if every step it has
    /// taken had the rate it has under that: always where the rate is constant or falls by the inverse root of the step, and
    /// under `wsd` until its decay begins (`--resume` of a checkpoint from before goes on in a new run). Under `linear` and
    /// `cosine` each rate depends on the whole budget: there `train.reset_optimizer` goes on at the rate that the new budget
    /// has at that step, with fresh optimizer state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<NonZeroU64>,
    /// Budget in tokens, rounded up to whole steps; give this or `train.steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<NonZeroU64>,
    /// Sequences in one micro-batch.
    #[schemars(range(min = 1))]
    pub batch_size: usize,
    /// Micro-batches whose gradients are added up before one optimizer step: the same as one larger batch, but for the
    /// balancing losses of a mixture of experts, which every micro-batch has of its own.
    #[schemars(range(min = 1))]
    pub accumulate: usize,
    /// Seed of the initial weights and of the order of the data.
    pub seed: u64,
    /// Backend to compute on: `flex` (the CPU), `cuda`, `vulkan`, `metal`, `webgpu`, `rocm` or `cpu` (the CPU through `CubeCL`); of several
    /// devices one by its number (`cuda:1`), the first unless told. A list (`["cuda:0", "cuda:1"]`) trains on all of them, each as a rank
    /// of this process.
    pub device: DeviceList,
    /// Format that the factors of the products of linear maps and of the output layer, and of their gradients, are rounded
    /// to. Weights, gradients, activations, attention, the loss and the optimizer stay in single precision, and so do sums
    /// on the CPU. `bf16` saves time on processors and GPUs with instructions for it.
    pub precision: PrecisionName,
    /// Steps between evaluations on the validation split; 0 evaluates at the end alone.
    pub eval_every: u64,
    /// Tokens of the validation split that one evaluation reads, rounded up to whole samples.
    pub eval_tokens: NonZeroU64,
    /// Steps between checkpoints; 0 saves at the end alone.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept; older ones are removed once a newer one is in place. A run under `wsd` that may be made
    /// longer needs one from before its decay.
    #[schemars(range(min = 1))]
    pub keep: usize,
    /// Step after which this launch ends with a checkpoint; the schedule still follows the whole budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<NonZeroU64>,
    /// Lets a resumed run go on under other keys of `optim`, and under a budget or a schedule that would have given steps
    /// already taken another rate, with fresh optimizer state; an instruction to one launch.
    pub reset_optimizer: bool,
    /// Steps between progress lines where the output is no terminal.
    pub log_every: u64,
    /// Steps between samples of generated text; 0 samples at the end alone.
    pub sample_every: u64,
    /// Tokens in one sample of generated text, with the prompt no more than there are learned positions; 0 turns samples
    /// off.
    pub sample_tokens: usize,
    /// Text a sample continues; empty starts a new document.
    pub prompt: String,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: None,
            tokens: None,
            batch_size: 8,
            accumulate: 1,
            seed: 1,
            device: DeviceList::default(),
            precision: PrecisionName::F32,
            eval_every: 100,
            eval_tokens: NonZeroU64::MIN.saturating_add(65_535),
            checkpoint_every: 200,
            keep: 2,
            stop_after: None,
            reset_optimizer: false,
            log_every: 10,
            sample_every: 0,
            sample_tokens: 64,
            prompt: String::new(),
        }
    }
}

impl TrainConfig {
    /// Tokens of one optimizer step, `accumulate * batch_size * context`.
    pub fn tokens_per_step(&self, context: usize) -> u64 {
        (self.accumulate as u64)
            .saturating_mul(self.batch_size as u64)
            .saturating_mul(context as u64)
    }

    /// Samples that one evaluation reads, `train.eval_tokens` rounded up.
    ///
    /// ```
    /// use evenburn_train::config::TrainConfig;
    /// let train = TrainConfig::default();
    /// assert_eq!(train.eval_samples(256), 65_536 / 256);
    /// ```
    pub fn eval_samples(&self, context: usize) -> u64 {
        self.eval_tokens.get().div_ceil(context.max(1) as u64)
    }

    /// Optimizer steps of the whole budget, which the schedule spans.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] unless exactly one of `train.steps` and `train.tokens` is given.
    ///
    /// ```
    /// use evenburn_train::config::TrainConfig;
    /// use std::num::NonZeroU64;
    ///
    /// let train = TrainConfig { tokens: NonZeroU64::new(10_000), batch_size: 4, ..Default::default() };
    /// assert_eq!(train.total_steps(256)?, 10); // 10,000 / (4 * 256), rounded up
    /// # Ok::<(), evenburn_train::TrainError>(())
    /// ```
    pub fn total_steps(&self, context: usize) -> Result<u64, TrainError> {
        match (self.steps, self.tokens) {
            (Some(steps), None) => Ok(steps.get()),
            (None, Some(tokens)) => Ok(tokens.get().div_ceil(self.tokens_per_step(context).max(1))),
            (None, None) => Err(TrainError::invalid(
                "train.steps",
                "a run needs a budget: give train.steps or train.tokens",
            )),
            (Some(steps), Some(tokens)) => Err(TrainError::invalid(
                "train.steps",
                format!(
                    "train.steps = {steps} and train.tokens = {tokens} are two budgets; give one of them"
                ),
            )),
        }
    }

    /// Checks what no type can.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        let at_least_one = [
            ("train.batch_size", self.batch_size),
            ("train.accumulate", self.accumulate),
            ("train.keep", self.keep),
        ];
        match at_least_one.into_iter().find(|(_, n)| *n == 0) {
            Some((key, _)) => Err(TrainError::invalid(key, "must be at least 1")),
            None => self.device.entries().map(drop),
        }
    }
}

/// How the ranks of a run work together; how many there are is for whoever starts them to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RanksConfig {
    /// Seconds that a rank waits for the others once training has begun, before it ends all of them: one that is stopped or cut
    /// off would be waited for until the end of the job.
    #[schemars(range(min = 1))]
    pub patience: u64,
}

impl Default for RanksConfig {
    fn default() -> Self {
        // What PyTorch's process groups wait on NCCL.
        Self { patience: 600 }
    }
}

impl RanksConfig {
    /// Checks what no type can.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        match self.patience {
            0 => Err(TrainError::invalid("ranks.patience", "must be at least 1")),
            _ => Ok(()),
        }
    }
}

/// What is measured beside the losses.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Steps between logs of every parameter's and gradient's norm; 0 turns them off.
    pub norms_every: u64,
    /// Peak arithmetic of a device in TFLOP/s, above 0; without it `perf/mfu` is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_tflops: Option<f64>,
}

impl MetricsConfig {
    /// Checks what no type can.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] names the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        match self.peak_tflops {
            Some(peak) if !(peak.is_finite() && peak > 0.0) => {
                let why = format!("must be a finite number above 0, not {peak}");
                Err(TrainError::invalid("metrics.peak_tflops", why))
            }
            _ => Ok(()),
        }
    }
}
