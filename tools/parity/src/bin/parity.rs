//! Compares the project with every reference case of a folder: `cargo xtask parity DIR`, `cargo xtask parity --eval DIR`.

use anyhow::{Context, Result, bail};
use clap::Parser;
use evenburn_workspace::{end_with, say};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare logits, loss, gradients and ten training steps, or an evaluation, with reference numbers.
///
/// Exits with 1 when a case is over its tolerance or its scheme is unknown, with 2 when a case can't be read.
#[derive(Parser)]
struct Arguments {
    /// Folder of cases: NAME.json beside NAME.safetensors.
    #[arg(required_unless_present = "eval", conflicts_with = "eval")]
    folder: Option<PathBuf>,
    /// Folder of an evaluation: model, tasks, expected.json.
    #[arg(long, value_name = "DIR")]
    eval: Option<PathBuf>,
    /// Also write every error, or all that an evaluation computed, to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => end_with(&error, 2),
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let json = arguments.json.as_deref();
    match (&arguments.eval, &arguments.folder) {
        (Some(folder), _) => evaluation(folder, json),
        (None, Some(folder)) => cases(folder, json),
        (None, None) => bail!("no folder is given"),
    }
}

fn cases(folder: &Path, json: Option<&Path>) -> Result<bool> {
    let report = evenburn_parity::run_folder(folder)?;
    say!("{report}")?;
    if let Some(path) = json {
        let json = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    Ok(report.passes())
}

fn evaluation(folder: &Path, json: Option<&Path>) -> Result<bool> {
    let eval = evenburn_parity::eval::run(folder)?;
    if let Some(path) = json {
        evenburn_parity::eval::write(&eval, path)?;
    }
    say!("{eval}")?;
    Ok(eval.passes())
}
