//! `cargo xtask bench schemes`: what a scheme costs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::worker::Worker;
use crate::{build, median, report, train};
use evenburn_workspace::{root, say};

/// A step of every scheme against that of the first, in turns
///
/// One process for each scheme, all there at once; in each round everybody takes a turn, and the ratios are those within a
/// round, so that a machine that slows down for a minute slows all of them. Writes `docs/benchmarks/schemes.md`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: cargo xtask bench schemes --models S --schemes pre_norm:qk=unit,angpt --rounds 31"
)]
pub(crate) struct SchemesArgs {
    /// Names of files in benches/models, or paths of such files
    #[arg(long, value_delimiter = ',', default_value = "S,M")]
    models: Vec<String>,
    /// Schemes, each with options of its own behind colons (`angpt:branch_norm=none`); the ratios are to the first
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "pre_norm:qk=unit,angpt,pre_norm,simple_norm,ngpt"
    )]
    schemes: Vec<String>,
    /// Rounds
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Steps of a turn, of which the middle one counts
    #[arg(long, default_value_t = 1)]
    steps: u64,
    /// Folder of the table
    #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Build without optimization of the project's own crates (its kernels and Burn always are)
    #[arg(long)]
    debug_build: bool,
}

impl SchemesArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let Some(first) = self.schemes.first() else {
            bail!("there is no scheme to measure");
        };
        let root = root()?;
        let binary = build(&root, "bench_train", self.debug_build)?;
        let mut table = format!(
            "| model | scheme | ms a step | to `{first}` | quartiles |\n|---|---|---|---|---|\n"
        );
        for name in &self.models {
            let (model, file) = train::model(&root, name)?;
            let start = |scheme: &String| {
                eprintln!("{model}: {scheme} starts");
                let mut command = Command::new(&binary);
                command.arg(&file).args(overrides(scheme));
                Ok(Worker::start(scheme, &mut command)?.0)
            };
            let workers = self.schemes.iter().map(start).collect::<Result<Vec<_>>>()?;
            let rounds = self.turns(&model, workers)?;
            for (i, scheme) in self.schemes.iter().enumerate() {
                let seconds: Vec<f64> = rounds.iter().map(|round| round[i]).collect();
                let mut ratios: Vec<f64> = rounds.iter().map(|round| round[i] / round[0]).collect();
                ratios.sort_by(f64::total_cmp);
                table += &format!(
                    "| {model} | `{scheme}` | {:.0} | {:.3} | {:.3} to {:.3} |\n",
                    1e3 * median(&seconds),
                    median(&ratios),
                    ratios[ratios.len() / 4],
                    ratios[ratios.len() * 3 / 4],
                );
            }
        }
        say!("{}", table.trim_end())?;
        let text = format!(
            "# Schemes\n\n<!-- Written by `cargo xtask bench schemes`. -->\n\n\
             Steps of the models of `benches/models` with each scheme, forward and backward pass, clipping and AdamW, f32; medians of\n\
             {} rounds, in each of which every scheme took its turn, and of the ratios within a round.\n\n{}\n{table}",
            self.rounds,
            report::about(&root, self.debug_build)?
        );
        let out = root.join(&self.out);
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        let path = out.join("schemes.md");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Seconds of a step of each scheme in each round; everybody begins equally often.
    fn turns(&self, model: &str, mut workers: Vec<Worker>) -> Result<Vec<Vec<f64>>> {
        let count = workers.len();
        let round = |round: usize| {
            eprintln!("{model}: round {} of {}", round + 1, self.rounds);
            let mut seconds = vec![f64::NAN; count];
            for turn in 0..count {
                let which = (round + turn) % count;
                seconds[which] = median(&workers[which].steps(self.steps)?);
            }
            Ok(seconds)
        };
        (0..self.rounds.max(1)).map(round).collect()
    }
}

/// Keys of the configuration for `SCHEME:OPTION=VALUE:...`.
fn overrides(scheme: &str) -> Vec<String> {
    let mut parts = scheme.split(':');
    let name = parts.next().unwrap_or_default();
    let options = parts.map(|option| format!("norm.{option}"));
    [format!("norm.scheme={name}")]
        .into_iter()
        .chain(options)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_scheme_are_keys() {
        assert_eq!(overrides("angpt"), ["norm.scheme=angpt"]);
        let both = [
            "norm.scheme=angpt",
            "norm.branch_norm=none",
            "norm.sz_scale=0.001",
        ];
        assert_eq!(overrides("angpt:branch_norm=none:sz_scale=0.001"), both);
    }
}
