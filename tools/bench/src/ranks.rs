//! `cargo xtask bench ranks`: what several ranks cost and bring on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use evenburn_workspace::{capture, corpus, mpi, root, say};
use serde::Deserialize;

use crate::{build, median, quartiles};

/// Sums over ranks and training by ranks, as processes of this machine
///
/// First the sum of ten million numbers of each rank: MPI's own all-reduce, whose order of additions is its choice, beside the
/// exchange with additions in a fixed order that training uses. Then the default preset with four micro-batches a step, by each
/// number of ranks in turns: tokens per second, and of a step the time with other ranks. Cores are shared out, so that a speed-up
/// can't be seen where ranks share a machine: what is seen is what ranks cost. Losses are compared; they are equal to the last bit.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench ranks --ranks 1,2,4 --steps 40 --rounds 3")]
pub(crate) struct RanksArgs {
    /// Numbers of ranks
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    ranks: Vec<NonZeroUsize>,
    /// Numbers that are summed
    #[arg(long, default_value_t = 10_000_000)]
    numbers: usize,
    /// Sums of each kind
    #[arg(long, default_value_t = 15)]
    turns: usize,
    /// Steps of each training
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Trainings with each number of ranks, in turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Build as tests are built: quicker to build, slower to train
    #[arg(long)]
    debug_build: bool,
}

/// What `bench_ranks` prints, in milliseconds.
#[derive(Debug, Deserialize)]
struct Sums {
    all_reduce: Vec<f64>,
    tree: Vec<f64>,
    reduce_scatter: Vec<f64>,
}

/// Of a training, each step's values.
#[derive(Debug, Default)]
struct Training {
    tokens_per_sec: Vec<f64>,
    step: Vec<f64>,
    wait: Vec<f64>,
    communication: Vec<f64>,
    /// As they are written.
    losses: Vec<Vec<String>>,
}

/// Steps that aren't counted: the first ones allocate.
const WARM: usize = 3;

impl RanksArgs {
    pub(crate) fn run(&self) -> Result<()> {
        mpi::require()?;
        let root = root()?;
        let worker = build(&root, "bench_ranks", self.debug_build)?;
        let program = build(&root, "evenburn", self.debug_build)?;
        say!(
            "Sums of {} numbers of each rank, milliseconds: median (best) of {}",
            self.numbers,
            self.turns
        )?;
        say!("| ranks | MPI_Allreduce | fixed tree | of it, to the owners |")?;
        say!("|---|---|---|---|")?;
        for ranks in self
            .ranks
            .iter()
            .map(|ranks| ranks.get())
            .filter(|ranks| *ranks > 1)
        {
            let mut command = mpi::launcher(ranks);
            command
                .arg(&worker)
                .args(["--numbers", &self.numbers.to_string()])
                .args(["--turns", &self.turns.to_string()]);
            let text = capture(&mut command)?;
            let sums: Sums = serde_json::from_str(&text).context("reading the worker's line")?;
            say!(
                "| {ranks} | {} | {} | {} |",
                shown(&sums.all_reduce),
                shown(&sums.tree),
                shown(&sums.reduce_scatter)
            )?;
        }
        let text = corpus(&root)?;
        let mut all: BTreeMap<usize, Training> = BTreeMap::new();
        for round in 1..=self.rounds {
            for ranks in self.ranks.iter().map(|ranks| ranks.get()) {
                eprintln!("{ranks} ranks: round {round} of {}", self.rounds);
                let training = all.entry(ranks).or_default();
                self.train(&root, &program, &text, ranks, training)?;
            }
        }
        let first = all.values().flat_map(|training| &training.losses).next();
        for (ranks, training) in &all {
            ensure!(
                training.losses.iter().all(|losses| Some(losses) == first),
                "{ranks} ranks have other losses"
            );
        }
        say!(
            "\nTraining the default preset, 4 micro-batches of 4 sequences a step: median of {} steps from the {}th on; equal losses",
            self.rounds * (self.steps - WARM.min(self.steps)),
            WARM + 1
        )?;
        say!(
            "| ranks | threads of each | tokens/s (quartiles) | step, ms | waiting, ms | communication, ms |"
        )?;
        say!("|---|---|---|---|---|---|")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for (ranks, training) in &all {
            let [low, middle, high] = quartiles(&training.tokens_per_sec);
            say!(
                "| {ranks} | {} | {middle:.0} ({low:.0} to {high:.0}) | {:.1} | {} | {} |",
                (cores / ranks).max(1),
                median(&training.step),
                with_others(&training.wait),
                with_others(&training.communication)
            )?;
        }
        Ok(())
    }

    fn train(
        &self,
        root: &Path,
        program: &Path,
        text: &Path,
        ranks: usize,
        training: &mut Training,
    ) -> Result<()> {
        let run = root
            .join("target")
            .join("bench-ranks")
            .join(ranks.to_string());
        if run.exists() {
            fs::remove_dir_all(&run).with_context(|| format!("removing {}", run.display()))?;
        }
        let mut command = mpi::launcher(ranks);
        command
            .arg(program)
            .arg("train")
            .arg("--config")
            .arg(root.join("configs/default.toml"))
            .arg("--data.path")
            .arg(text)
            .arg("--run-dir")
            .arg(&run)
            .arg("--no-baselines")
            .args(["--train.steps", &self.steps.to_string()])
            .args(["--train.accumulate", "4", "--train.batch_size", "4"])
            .args(["--train.sample_tokens", "0", "--train.eval_every", "0"]);
        capture(&mut command)?;
        let metrics = run.join("metrics.jsonl");
        let text = fs::read_to_string(&metrics)
            .with_context(|| format!("reading {}", metrics.display()))?;
        let mut losses = Vec::new();
        for (step, line) in text.lines().enumerate() {
            let values: serde_json::Value = serde_json::from_str(line)?;
            losses.push(values["train/loss"].to_string());
            let push = |list: &mut Vec<f64>, name: &str| {
                if step >= WARM
                    && let Some(value) = values[name].as_f64()
                {
                    list.push(value);
                }
            };
            push(&mut training.tokens_per_sec, "perf/tokens_per_sec");
            push(&mut training.step, "perf/step_ms");
            push(&mut training.wait, "perf/wait_ms");
            push(&mut training.communication, "perf/comm_ms");
        }
        ensure!(
            losses.len() == self.steps,
            "{} has other steps",
            metrics.display()
        );
        training.losses.push(losses);
        Ok(())
    }
}

/// Median and best.
fn shown(times: &[f64]) -> String {
    let best = times.iter().copied().fold(f64::INFINITY, f64::min);
    format!("{:.1} ({best:.1})", median(times))
}

/// A time that one rank doesn't have.
fn with_others(times: &[f64]) -> String {
    match times {
        [] => "-".to_owned(),
        times => format!("{:.1}", median(times)),
    }
}
