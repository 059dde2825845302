//! What `evenburn eval` takes.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Compute, at_least_one};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Split {
    Train,
    Validation,
}

#[derive(Debug, Args)]
pub(crate) struct Eval {
    /// Run directory, or one checkpoint in it; with --tasks also a folder of transformers or a repository of the hub.
    #[arg(value_name = "MODEL", required_unless_present = "tasks")]
    pub(crate) models: Vec<PathBuf>,
    /// Which part of the data.
    #[arg(
        long,
        value_enum,
        default_value = "validation",
        conflicts_with = "tasks"
    )]
    pub(crate) split: Split,
    /// Tokens to read, rounded up to whole samples; the whole split when left out.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = at_least_one::<NonZeroU64>, conflicts_with = "tasks")]
    pub(crate) tokens: Option<NonZeroU64>,
    /// Also score a unigram and an interpolated bigram model of the training tokens on the same tokens.
    #[arg(long, conflicts_with = "tasks")]
    pub(crate) baselines: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) benchmarks: Benchmarks,
    #[command(flatten)]
    pub(crate) compute: Compute,
}

/// How benchmarks are asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Benchmarks")]
pub(crate) struct Benchmarks {
    /// Benchmarks: names of tasks and groups, and files of tasks, with commas between them; `list` prints the names.
    #[arg(long, value_name = "A,B,...")]
    pub(crate) tasks: Option<String>,
    /// Examples before each question, of tasks that have no number of their own.
    #[arg(long, value_name = "N", requires = "tasks", default_value_t = 0)]
    pub(crate) shots: usize,
    /// How examples are chosen.
    #[arg(long, value_enum, requires = "tasks", default_value = "default")]
    pub(crate) sampler: ExampleSampler,
    /// The first N documents of each task only.
    #[arg(long, value_name = "N", requires = "tasks", allow_negative_numbers = true, value_parser = at_least_one::<NonZeroUsize>)]
    pub(crate) limit: Option<NonZeroUsize>,
    /// Folder that stands for all data sets: DIR/TASK.jsonl or .parquet with the documents of a task, DIR/TASK.train.jsonl or
    /// .parquet with those of its examples, or DIR/OWNER/NAME with the files of a data set of the hub.
    #[arg(long, value_name = "DIR", requires = "tasks")]
    pub(crate) data: Option<PathBuf>,
    /// Write each document with its questions and answers, a JSON object a line, to DIR/TASK.jsonl; of several models below
    /// DIR/<model>.
    #[arg(long, value_name = "DIR", requires = "tasks")]
    pub(crate) log_samples: Option<PathBuf>,
    /// Tokens of a pass, as so many sequences of the model's context.
    #[arg(long, value_name = "N", requires = "tasks", allow_negative_numbers = true, value_parser = at_least_one::<NonZeroUsize>)]
    pub(crate) batch_size: Option<NonZeroUsize>,
    /// One question in a pass: slow, and equal to the last bit whatever else is asked.
    #[arg(long, requires = "tasks", conflicts_with = "batch_size")]
    pub(crate) one_by_one: bool,
    /// Put the token that begins a text before every context (`add_bos_token=True`).
    #[arg(long, requires = "tasks")]
    pub(crate) add_bos: bool,
    /// What is done about a document that can't be asked about.
    #[arg(long, value_enum, requires = "tasks", default_value = "error")]
    pub(crate) on_bad: OnBadDocument,
    /// Which checkpoints of a run.
    #[arg(
        long,
        value_enum,
        requires = "tasks",
        default_value = "newest",
        value_name = "WHICH"
    )]
    pub(crate) checkpoints: WhichCheckpoints,
    /// Evaluate again what earlier calls have finished.
    #[arg(long, requires = "tasks")]
    pub(crate) fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExampleSampler {
    /// Drawn anew for each document
    Default,
    /// The first ones
    First,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnBadDocument {
    /// It ends the evaluation
    Error,
    /// It is left out and counted
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichCheckpoints {
    /// The newest, or the one that is named
    Newest,
    /// Each, as a curve
    All,
}
