//! `cargo xtask bench optim`: what an optimizer's step costs.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{build, median};
use evenburn_workspace::python::{environment, scratch};
use evenburn_workspace::{capture, root, say};

/// A step of each optimizer on a model of ten million parameters
///
/// Prints milliseconds, the ratio to AdamW's step, and the share of a training step of 16,384 tokens, all medians.
/// Each contender runs several times in turns. PyTorch's fused AdamW and its Muon come along where Python 3 and the
/// network are there; --no-torch leaves them out.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench optim --json optim.json")]
pub(crate) struct OptimArgs {
    /// Steps that are timed in each turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Turns of each contender
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Measure the project alone
    #[arg(long)]
    no_torch: bool,
    /// The Python that makes the environment
    #[arg(long, default_value = if cfg!(windows) { "python" } else { "python3" })]
    python: PathBuf,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Build without optimization of the project's own crates (its kernels and Burn always are)
    #[arg(long)]
    debug_build: bool,
}

/// Milliseconds of every turn, by contender and what was timed.
type Times = BTreeMap<(String, String), Vec<f64>>;

/// What the share of a training step is taken of.
const TRAINING: &str = "forward and backward of 16384 tokens";

impl OptimArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let binary = build(&root, "bench_optim", self.debug_build)?;
        let torch = if self.no_torch {
            None
        } else {
            Some(environment(&root, &scratch(&root), &self.python)?)
        };
        let rounds = self.rounds.to_string();
        let mut times = Times::new();
        for turn in 1..=self.turns {
            eprintln!("turn {turn} of {}: evenburn", self.turns);
            let what = if turn == 1 { "all" } else { "steps" };
            let mut ours = Command::new(&binary);
            ours.args(["--rounds", &rounds, "--what", what]);
            read(&capture(&mut ours)?, &mut times)?;
            if let Some(python) = &torch {
                eprintln!("turn {turn} of {}: torch", self.turns);
                let mut peer = Command::new(python);
                peer.arg(root.join("tools/bench/torch/optim.py"))
                    .arg(&rounds);
                read(&capture(&mut peer)?, &mut times)?;
            }
        }
        let figures = figures(&times)?;
        say!("{}", table(&figures).trim_end())?;
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&figures)? + "\n";
            fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Adds the lines of one turn.
fn read(lines: &str, times: &mut Times) -> Result<()> {
    for line in lines.lines() {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("reading `{line}`"))?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let (Some(contender), Some(recipe), Some(ms)) =
            (text("contender"), text("recipe"), value["ms"].as_f64())
        else {
            bail!("`{line}` is no measurement");
        };
        times.entry((contender, recipe)).or_default().push(ms);
    }
    Ok(())
}

/// One object for each contender and recipe.
fn figures(times: &Times) -> Result<Vec<Value>> {
    let of = |contender: &str, recipe: &str| {
        let key = (contender.to_owned(), recipe.to_owned());
        times.get(&key).map(|times| median(times))
    };
    let adamw = of("evenburn", "adamw").context("AdamW was not timed")?;
    let training = of("evenburn", TRAINING).context("the training step was not timed")?;
    let figure = |((contender, recipe), turns): (&(String, String), &Vec<f64>)| {
        let ms = median(turns);
        serde_json::json!({
            "contender": contender,
            "recipe": recipe,
            "ms": ms,
            "to_adamw": ms / adamw,
            "of_training_step": ms / (training + ms),
            "turns": turns,
        })
    };
    Ok(times.iter().map(figure).collect())
}

fn table(figures: &[Value]) -> String {
    let mut text = format!(
        "{:<10} {:<38} {:>10} {:>10} {:>18}\n",
        "contender", "step", "ms", "to adamw", "of training step"
    );
    for figure in figures {
        let (contender, recipe) = (&figure["contender"], &figure["recipe"]);
        let number = |key: &str| figure[key].as_f64().unwrap_or(f64::NAN);
        text += &format!(
            "{:<10} {:<38} {:>10.2} {:>10.2} {:>17.1}%\n",
            contender.as_str().unwrap_or_default(),
            recipe.as_str().unwrap_or_default(),
            number("ms"),
            number("to_adamw"),
            100.0 * number("of_training_step")
        );
    }
    text
}
