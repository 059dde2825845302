//! `cargo xtask parity`: the models, the optimizers and the evaluation against recorded reference numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use evenburn_workspace::{cargo, exit_code, root};

/// Compares the schemes with recorded reference cases: logits, loss, gradients, losses and final weights.
///
/// Runs every case found in a folder, whatever its sizes, in f32 and f64, and prints the largest error of each. Ends
/// with 1 when one is over its tolerance or a case's scheme is unknown.
///
/// With --eval the folder holds an evaluation that lm-evaluation-harness 0.4.13 has computed:
///
///   model/          a model of transformers with its tokenizer
///   tasks/          documents: TASK.jsonl or TASK.parquet, examples in TASK.train.*, single requests in requests.jsonl
///   expected.json   what came out: strings, tokens, log-likelihoods, decisions, metrics
///
/// All of it is computed anew from `model` and `tasks`; of expected.json only the names of the tasks, the numbers of examples
/// and the numbers of documents are read before. Then every document and every metric is compared. Prints a line a
/// task. Ends with 1 when a number is past its tolerance: 1e-5 of a log-likelihood, of the logarithm of a perplexity and of
/// bits per byte, 1e-12 of the standard error of a mean, 1e-2 of a bootstrapped one, none of everything else. Ends with 2 when
/// a file can't be read. Without expected.json all tasks that have a file are computed, and nothing is compared.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        cargo xtask parity tests/fixtures --json parity.json\n  \
        cargo xtask parity --eval crates/eval/tests/fixtures/cases --json answers.json"
)]
pub(crate) struct ParityArgs {
    /// The folder with the cases
    #[arg(required_unless_present = "eval", conflicts_with = "eval")]
    dir: Option<PathBuf>,
    /// A folder with an evaluation instead
    #[arg(long, value_name = "DIR")]
    eval: Option<PathBuf>,
    /// Also write the errors to this file; with --eval what was computed, in the layout of expected.json
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl ParityArgs {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let mut command = cargo();
        // In the user's folder, so that relative paths mean what they say.
        command
            .args(["run", "--quiet", "--locked", "--manifest-path"])
            .arg(root()?.join("Cargo.toml"))
            .args(["--package=evenburn-parity", "--bin=parity", "--"])
            .args(&self.dir);
        for (option, path) in [("--eval", &self.eval), ("--json", &self.json)] {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
        exit_code(&mut command)
    }
}
