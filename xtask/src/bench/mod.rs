//! `cargo xtask bench`: what things cost, beside PyTorch in the same run.

mod decode;
mod optim;
mod plot;
mod report;
mod scale;
mod schemes;
mod train;
mod worker;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::workspace::{cargo, run};

pub(crate) use train::model;
pub(crate) use worker::{Measured, Worker};

/// Measures training beside PyTorch, in turns in one run.
///
/// Trains the models of `benches/models` with each scheme, a few steps of each contender in turn: this project in f32, and
/// PyTorch eager, compiled, and compiled with bfloat16 autocast (`benches/torch/train.py`, in an environment of `PyPI`'s
/// packages below `target/reference`; where Python 3 or the network is missing, this project alone). Writes
/// `docs/benchmarks/training.md` and a plot beside it: medians of tokens per second, peak resident memory, the share of the
/// measured peak of matrix products, and where a step's time goes. Close other programs first.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        cargo xtask bench\n  \
        cargo xtask bench --models S --schemes angpt --rounds 3 --json bench.json --out target/bench\n  \
        cargo xtask bench --peers none\n  \
        cargo xtask bench decode\n  \
        cargo xtask bench schemes\n  \
        cargo xtask bench scale\n  \
        cargo xtask bench optim"
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    train: train::TrainArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    Optim(optim::OptimArgs),
    Decode(decode::DecodeArgs),
    Scale(scale::ScaleArgs),
    Schemes(schemes::SchemesArgs),
}

impl BenchArgs {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            Some(What::Optim(arguments)) => arguments.run(),
            Some(What::Decode(arguments)) => arguments.run(),
            Some(What::Scale(arguments)) => arguments.run(),
            Some(What::Schemes(arguments)) => arguments.run(),
            None => self.train.run(),
        }
    }
}

/// Builds a program of the package `evenburn-tests` and returns its path.
pub(crate) fn build(root: &Path, name: &str, debug: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .current_dir(root)
        .args(["build", "--locked", "--package=evenburn-tests"])
        .arg(format!("--bin={name}"));
    if !debug {
        command.arg("--release");
    }
    run(&mut command)?;
    let profile = if debug { "debug" } else { "release" };
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    Ok(root.join("target").join(profile).join(name))
}

/// The middle of an odd number of values, the upper of the two middle ones of an even number; NaN of none.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
