//! Compares the project with every reference case of a folder: `cargo xtask parity DIR`.

use anyhow::{Context, Result};
use clap::Parser;
use evenburn_workspace::{end_with, say};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare logits, loss, gradients and ten training steps with reference numbers.
///
/// Exits with 1 when a case is over its tolerance or its scheme is unknown, with 2 when a case can't be read.
#[derive(Parser)]
struct Arguments {
    /// Folder of cases: NAME.json beside NAME.safetensors.
    folder: PathBuf,
    /// Also write every error to this file.
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
    let report = evenburn_parity::run_folder(&arguments.folder)?;
    say!("{report}")?;
    if let Some(path) = &arguments.json {
        let json = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    Ok(report.passes())
}
