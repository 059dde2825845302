//! `cargo xtask parity`: the models and optimizers against recorded reference numbers.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use evenburn_workspace::{cargo, exit_code, root};

/// Compares the schemes with recorded reference cases: logits, loss, gradients, losses and final weights.
///
/// Runs every case found in a folder, whatever its sizes, in f32 and f64, and prints the largest error of each. Ends
/// with 1 when one is over its tolerance or a case's scheme is unknown.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask parity tests/fixtures --json parity.json")]
pub(crate) struct ParityArgs {
    /// The folder with the cases
    dir: PathBuf,
    /// Also write the errors to this file
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
            .arg(&self.dir);
        if let Some(json) = &self.json {
            command.arg("--json").arg(json);
        }
        exit_code(&mut command)
    }
}
