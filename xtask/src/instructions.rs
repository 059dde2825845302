//! `cargo xtask instructions`: how many instructions a training step executes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use evenburn_workspace::{build_tool, capture, root, say};

/// Counts the instructions of one training step and compares them with the recorded ones.
///
/// One step of the default preset with one sequence of 64 tokens and one thread, for each of three schemes, under
/// `valgrind --tool=callgrind`, which counts the same on a busy machine as on an idle one and shows programs a processor
/// with AVX2 and without AVX-512. More than 5 % above `benches/instructions.json` is an error; --write records what was
/// counted. Without optimization of the project's own crates, as the tests are built; the kernels and Burn always are.
/// Needs Linux on x86-64 and valgrind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo xtask instructions\n  cargo xtask instructions --write")]
pub(crate) struct InstructionsArgs {
    /// Record what was counted
    #[arg(long)]
    write: bool,
}

/// What is counted: the smallest preset with other schemes too.
const PRESET: &str = "configs/default.toml";
const SCHEMES: [&str; 3] = ["angpt", "pre_norm", "simple_norm"];
/// Valgrind takes a fifth of a microsecond for an instruction on vectors.
const SIZE: [&str; 2] = ["train.batch_size=1", "model.context=64"];
const RECORD: &str = "benches/instructions.json";

/// How much more than recorded a step may execute.
const SLACK: f64 = 1.05;

impl InstructionsArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let counted = count(&root)?;
        if self.write {
            let text = serde_json::to_string_pretty(&counted)? + "\n";
            fs::write(root.join(RECORD), text).with_context(|| format!("writing {RECORD}"))
        } else {
            compare(&counted, &recorded(&root)?)
        }
    }
}

/// The comparison as a stage of CI.
pub(crate) fn check(root: &Path) -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        say!("left out: valgrind counts alike on Linux and x86-64 only")?;
        return Ok(());
    }
    compare(&count(root)?, &recorded(root)?)
}

type Counts = BTreeMap<String, u64>;

fn recorded(root: &Path) -> Result<Counts> {
    let text =
        fs::read_to_string(root.join(RECORD)).with_context(|| format!("reading {RECORD}"))?;
    serde_json::from_str(&text).with_context(|| format!("reading {RECORD}"))
}

fn count(root: &Path) -> Result<Counts> {
    let binary = build_tool(root, "bench_train", true)?;
    SCHEMES
        .iter()
        .map(|scheme| Ok(((*scheme).to_owned(), step(root, &binary, scheme)?)))
        .collect()
}

/// Instructions of one step.
fn step(root: &Path, binary: &Path, scheme: &str) -> Result<u64> {
    let profile: PathBuf = root.join("target").join(format!("callgrind-{scheme}.out"));
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg("--toggle-collect=*Training*step*")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(binary)
        .arg(root.join(PRESET))
        .args(SIZE)
        .arg(format!("norm.scheme={scheme}"))
        .args(["--warm", "1"])
        .env("RAYON_NUM_THREADS", "1")
        .stdin(Stdio::null());
    capture(&mut command).context("valgrind is a package of that name")?;
    let text =
        fs::read_to_string(&profile).with_context(|| format!("reading {}", profile.display()))?;
    total(&text).with_context(|| format!("{} has no total", profile.display()))
}

/// The sum at the end of callgrind's file.
fn total(profile: &str) -> Option<u64> {
    let line = profile.lines().find_map(|line| {
        line.strip_prefix("totals:")
            .or(line.strip_prefix("summary:"))
    })?;
    line.split_whitespace()
        .next()?
        .parse()
        .ok()
        .filter(|&n| n > 0)
}

fn compare(counted: &Counts, recorded: &Counts) -> Result<()> {
    let mut worse = Vec::new();
    for (scheme, &now) in counted {
        let before = *recorded
            .get(scheme)
            .with_context(|| format!("{RECORD} has no {scheme}"))?;
        let ratio = now as f64 / before as f64;
        say!("{scheme:<12} {now:>14} instructions a step, {ratio:.4} of {before}")?;
        if ratio > SLACK {
            worse.push(format!("{scheme} {ratio:.3}"));
        }
    }
    if worse.is_empty() {
        return Ok(());
    }
    bail!(
        "a training step executes more than {SLACK} times the recorded instructions ({}); \
         if that is meant, record it: cargo xtask instructions --write",
        worse.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_the_profile() {
        assert_eq!(
            total("events: Ir\nfn=(1)\n0 5\n\ntotals: 1234\n"),
            Some(1234)
        );
        assert_eq!(total("events: Ir\n"), None);
        // A function that was never entered.
        assert_eq!(total("totals: 0\n"), None);
    }

    #[test]
    fn five_percent_more_is_too_much() {
        let counts = |n: u64| Counts::from([("angpt".to_owned(), n)]);
        assert!(compare(&counts(1_049_000), &counts(1_000_000)).is_ok());
        assert!(compare(&counts(900_000), &counts(1_000_000)).is_ok());
        let error = compare(&counts(1_051_000), &counts(1_000_000)).unwrap_err();
        assert!(error.to_string().contains("angpt 1.051"), "{error}");
        assert!(compare(&counts(1), &Counts::new()).is_err());
    }
}
