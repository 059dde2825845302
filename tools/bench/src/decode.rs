//! `cargo xtask bench decode`: tokens one after another.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::worker::Worker;
use crate::{build, median, report, train};
use evenburn_workspace::python::{environment, scratch};
use evenburn_workspace::{root, say};

/// Decoding with a key/value cache at batch 1, beside `transformers`
///
/// A Llama with the sizes of a model of `benches/models` and random weights, greedy, in f32, in turns. Writes
/// `docs/benchmarks/decoding.md`.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench decode --models S --rounds 3")]
pub(crate) struct DecodeArgs {
    /// Names of files in benches/models, or paths of such files
    #[arg(long, value_delimiter = ',', default_value = "S,M")]
    models: Vec<String>,
    /// Turns of each
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Tokens of a turn
    #[arg(long, default_value_t = 64)]
    tokens: u64,
    /// Folder of the table
    #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
    out: PathBuf,
    /// The Python that makes the environment
    #[arg(long, default_value = if cfg!(windows) { "python" } else { "python3" })]
    python: PathBuf,
    /// Build without optimization of the project's own crates (its kernels and Burn always are)
    #[arg(long)]
    debug_build: bool,
}

impl DecodeArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let binary = build(&root, "bench_decode", self.debug_build)?;
        let python = environment(&root, &scratch(&root), &self.python)?;
        let mut table = String::from(
            "| model | this project, tokens/s | `transformers`, tokens/s | ratio |\n|---|---|---|---|\n",
        );
        for name in &self.models {
            let (model, file) = train::model(&root, name)?;
            let (ours, _) = Worker::start("bench_decode", Command::new(&binary).arg(&file))?;
            let script = root.join("tools/bench/torch/decode.py");
            let mut peer = Command::new(&python);
            let (theirs, _) = Worker::start("decode.py", peer.arg(script).arg(&file))?;
            let mut workers = [ours, theirs];
            let mut speeds = [const { Vec::new() }; 2];
            // The first turn warms both up.
            for round in 0..=self.rounds {
                eprintln!("{model}: round {round} of {}", self.rounds);
                for turn in 0..workers.len() {
                    let which = (round + turn) % workers.len();
                    let seconds = workers[which].tokens(self.tokens)?;
                    if round > 0 {
                        speeds[which].push(self.tokens as f64 / seconds);
                    }
                }
            }
            let [ours, theirs] = speeds.map(|speeds| median(&speeds));
            table += &format!(
                "| {model} | {ours:.1} | {theirs:.1} | {:.2} |\n",
                ours / theirs
            );
        }
        say!("{}", table.trim_end())?;
        let text = format!(
            "# Decoding\n\n<!-- Written by `cargo xtask bench decode`. -->\n\n\
             Llamas with the sizes of `benches/models` and random weights, {} tokens behind a key/value cache at batch 1, greedy,\n\
             f32; medians of {} rounds in turns with `transformers` (`tools/bench/torch/decode.py`).\n\n{}\n{table}",
            self.tokens,
            self.rounds,
            report::about(&root, self.debug_build)?
        );
        let out = root.join(&self.out);
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        let path = out.join("decoding.md");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }
}
