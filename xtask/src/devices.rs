//! `cargo xtask devices`: training on another device beside the CPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use evenburn_workspace::{Backend, build, capture, corpus, root, say};
use serde_json::{Map, Value};

use crate::presets;

/// How far two numbers may be apart, of the first. Presets on a software adapter were within a
/// third of it (docs/log.md).
const TOLERANCE: f64 = 1e-3;

/// What rounding may leave of a norm that is zero in theory, of the norm of all gradients; and the smallest value that
/// a difference is divided by.
const FLOOR: f64 = 1e-6;

/// Every preset's sizes, so that a step is a matter of milliseconds.
const SIZES: [&str; 26] = [
    "--model.dim",
    "64",
    "--model.layers",
    "2",
    "--model.heads",
    "2",
    "--model.context",
    "64",
    "--model.vocab_size",
    "512",
    "--data.tokenizer",
    "train",
    "--data.tokenizer_vocab",
    "512",
    "--train.batch_size",
    "4",
    "--train.accumulate",
    "1",
    "--train.eval_tokens",
    "4096",
    "--train.sample_every",
    "0",
    "--train.checkpoint_every",
    "0",
    "--metrics.norms_every",
    "1",
];

/// Trains small models on another device and on the CPU, and compares them.
///
/// Runs presets for a few steps at a width of 64 on both, with the same text, weights and order, and compares all losses,
/// and of the first step every norm of weights and gradients. Prints the largest difference of each preset. Ends with 1
/// when one is over a thousandth: then the device, its driver or its kernels compute something else. The first run on a
/// device takes minutes, because kernels are compiled and tried against each other.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask devices --backend cuda\n  \
    cargo xtask devices --backend vulkan configs/angpt.toml configs/experts.toml")]
pub(crate) struct DevicesArgs {
    /// What to build for and compare with the CPU
    #[arg(long, value_enum)]
    backend: Backend,
    /// Optimizer steps
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Presets; without any, all of `configs` and `configs/optimizers`
    #[arg(value_name = "PRESET")]
    presets: Vec<PathBuf>,
}

impl DevicesArgs {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let root = root()?;
        if self.backend == Backend::Flex {
            bail!("flex is the CPU, which others are compared with");
        }
        let presets = if self.presets.is_empty() {
            let all = presets::all(&root)?;
            all.iter().map(|preset| root.join(preset)).collect()
        } else {
            self.presets.clone()
        };
        let sides = [Backend::Flex, self.backend];
        // One after the other: both builds write the same file.
        let binaries = sides.map(|backend| kept(&build(&root, backend, false)?, backend));
        let [cpu, other] = binaries;
        let binaries = [cpu?, other?];
        let corpus = corpus(&root)?;
        let mut differ = 0;
        for preset in &presets {
            let name = presets::name(preset);
            let metrics = |side: usize| {
                let runs = binaries[side].with_file_name(format!("{name}-{}", sides[side].name()));
                let mut command = Command::new(&binaries[side]);
                command.args(["train", "--train.device", sides[side].name(), "--config"]);
                command.arg(preset).arg("--data.path").arg(&corpus);
                command.args(SIZES);
                command.args(["--train.steps", &self.steps.to_string(), "--run.dir"]);
                train(command.arg(&runs), &runs)
            };
            let (cpu, other) = (metrics(0)?, metrics(1)?);
            let (value, largest) = largest(&cpu, &other)
                .with_context(|| format!("{}: the two runs don't match", preset.display()))?;
            let verdict = if largest <= TOLERANCE {
                "ok"
            } else {
                "DIFFERS"
            };
            differ += usize::from(largest > TOLERANCE);
            say!("{name:32} {largest:9.1e}  {verdict:8} {value}")?;
        }
        if differ > 0 {
            eprintln!(
                "{differ} of {} presets differ by more than {TOLERANCE}",
                presets.len()
            );
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A copy of a binary that the next build leaves alone, in a folder of its own.
fn kept(binary: &Path, backend: Backend) -> Result<PathBuf> {
    let folder = binary.with_file_name("devices");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let copy = folder.join(format!(
        "evenburn-{}{}",
        backend.name(),
        std::env::consts::EXE_SUFFIX
    ));
    fs::copy(binary, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}

/// Runs a training command and reads the metrics of every step. Runs that were there before are deleted.
fn train(command: &mut Command, runs: &Path) -> Result<Vec<Map<String, Value>>> {
    presets::remove(runs)?;
    capture(command)?;
    let mut folders =
        fs::read_dir(runs).with_context(|| format!("cannot list {}", runs.display()))?;
    let run = folders
        .next()
        .with_context(|| format!("{} holds no run", runs.display()))??;
    presets::metrics(&run.path())
}

/// What differs most between two runs, and how much of the first's value: of the first step all that is no matter of time
/// or memory, of later ones the losses.
///
/// # Errors
/// The runs have other steps or values, or one that is no number.
fn largest(cpu: &[Map<String, Value>], other: &[Map<String, Value>]) -> Result<(String, f64)> {
    if cpu.is_empty() || cpu.len() != other.len() {
        bail!("{} steps and {}", cpu.len(), other.len());
    }
    let mut found = (String::new(), 0.0);
    for (i, (cpu, other)) in cpu.iter().zip(other).enumerate() {
        let number = |side: &Map<String, Value>, name: &str| {
            let value = side.get(name).and_then(Value::as_f64);
            value.with_context(|| format!("step {}: {name} is no number", i + 1))
        };
        let rounding = FLOOR * number(cpu, "train/grad_norm")?;
        for name in cpu.keys().filter(|name| counts(name, i == 0)) {
            let (expected, value) = (number(cpu, name)?, number(other, name)?);
            let floor = if name.starts_with("norm/") {
                rounding
            } else {
                0.0
            };
            let apart = ((value - expected).abs() - floor).max(0.0) / expected.abs().max(FLOOR);
            if apart > found.1 {
                found = (format!("{name}, step {}", i + 1), apart);
            }
        }
    }
    Ok(found)
}

/// Whether a metric is compared.
fn counts(name: &str, first: bool) -> bool {
    let is_loss = name.ends_with("/loss");
    is_loss || first && !["perf/", "mem/"].iter().any(|x| name.starts_with(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(lines: &[&str]) -> Vec<Map<String, Value>> {
        let parse = |line: &&str| serde_json::from_str(line).expect("an object");
        lines.iter().map(parse).collect()
    }

    #[test]
    fn the_largest_difference_is_named() {
        let cpu = steps(&[
            r#"{"step":1,"train/loss":4.0,"train/grad_norm":2.0,"norm/grad/a":0.5,"norm/grad/b":1e-9,"perf/step_ms":9}"#,
            r#"{"step":2,"train/loss":3.0,"train/grad_norm":2.0,"norm/grad/a":0.5}"#,
        ]);
        assert_eq!(largest(&cpu, &cpu).expect("the same"), (String::new(), 0.0));
        let other = steps(&[
            r#"{"step":1,"train/loss":4.004,"train/grad_norm":2.0,"norm/grad/a":0.6,"norm/grad/b":2e-9,"perf/step_ms":1}"#,
            r#"{"step":2,"train/loss":3.0,"train/grad_norm":4.0,"norm/grad/a":5.0}"#,
        ]);
        let (name, apart) = largest(&cpu, &other).expect("comparable");
        assert_eq!(name, "norm/grad/a, step 1");
        assert!((apart - 0.2).abs() < 1e-4, "{apart}");
    }

    #[test]
    fn runs_that_do_not_match_are_errors() {
        let cpu = steps(&[r#"{"step":1,"train/loss":4.0,"train/grad_norm":2.0}"#]);
        let nan = steps(&[r#"{"step":1,"train/loss":null,"train/grad_norm":2.0}"#]);
        let error = largest(&cpu, &nan).expect_err("no number").to_string();
        assert_eq!(error, "step 1: train/loss is no number");
        assert!(largest(&cpu, &[]).is_err());
    }
}
