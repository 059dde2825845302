//! `cargo xtask bench scale`: what size costs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::worker::Worker;
use crate::{build, median, report};
use evenburn_workspace::{root, say};

/// Speed and memory of training against width, depth, context and vocabulary
///
/// Changes one size of the model S at a time, 2,048 tokens a step (more where one sequence has more), each in a process of
/// its own, and fits powers: of the time per token, and of activation memory, which is the peak beyond that at the shortest
/// context, one sequence a step, against the length beyond the shortest. Writes `docs/benchmarks/scale.md`.
#[derive(Debug, Args)]
#[command(after_help = "Example: cargo xtask bench scale --scheme angpt")]
pub(crate) struct ScaleArgs {
    /// The scheme
    #[arg(long, default_value = "pre_norm")]
    scheme: String,
    /// Steps that are timed of each size
    #[arg(long, default_value_t = 3)]
    steps: u64,
    /// Folder of the table
    #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Build without optimization of the project's own crates (its kernels and Burn always are)
    #[arg(long)]
    debug_build: bool,
}

/// A size that is changed.
struct Axis {
    name: &'static str,
    values: &'static [usize],
    /// The keys that a value means.
    keys: fn(usize) -> Vec<String>,
}

const AXES: [Axis; 4] = [
    Axis {
        name: "width",
        values: &[128, 256, 512],
        // The ratios of the model S, and heads of 64.
        keys: |n| {
            let hidden = (n * 8 / 3).next_multiple_of(16);
            vec![
                format!("model.dim={n}"),
                format!("model.heads={}", n / 64),
                format!("model.hidden={hidden}"),
            ]
        },
    },
    Axis {
        name: "depth",
        values: &[2, 4, 8, 16],
        keys: |n| vec![format!("model.layers={n}")],
    },
    Axis {
        name: "context",
        values: &[256, 512, 1024, 2048, 4096, 8192],
        keys: |n| {
            let sequences = (2048 / n).max(1);
            vec![
                format!("model.context={n}"),
                format!("train.batch_size={sequences}"),
            ]
        },
    },
    Axis {
        name: "vocabulary",
        values: &[4096, 8192, 16384, 32768, 65536],
        keys: |n| vec![format!("model.vocab_size={n}")],
    },
];

/// Contexts of one sequence whose memory is compared.
const CONTEXTS: [usize; 5] = [256, 512, 1024, 2048, 4096];

/// One size.
struct Point {
    value: usize,
    /// Of one token.
    seconds: f64,
    /// Peak resident bytes.
    memory: f64,
}

impl ScaleArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let binary = build(&root, "bench_train", self.debug_build)?;
        let mut tables = String::new();
        for axis in AXES {
            let points = axis
                .values
                .iter()
                .map(|&value| self.point(&root, &binary, axis.name, value, (axis.keys)(value)))
                .collect::<Result<Vec<_>>>()?;
            let power = slope(points.iter().map(|p| (p.value as f64, p.seconds)));
            let _ = writeln!(
                tables,
                "## {}\n\n{}\nThe time of a token grows with its power {power:.2}.\n",
                axis.name,
                table(axis.name, &points)
            );
        }
        let points = CONTEXTS
            .iter()
            .map(|&value| {
                let keys = vec![
                    format!("model.context={value}"),
                    "train.batch_size=1".to_owned(),
                ];
                self.point(&root, &binary, "context of one sequence", value, keys)
            })
            .collect::<Result<Vec<_>>>()?;
        let _ = writeln!(
            tables,
            "## Memory of one sequence\n\n{}\n{}",
            table("context", &points),
            powers_of_memory(&points)
        );
        say!("{}", tables.trim_end())?;
        let text = format!(
            "# What size costs\n\n<!-- Written by `cargo xtask bench scale`. -->\n\n\
             `{}` with the model S of `benches/models` and one size changed; medians of {} steps, each size in a process of its\n\
             own. Powers are fitted to logarithms by least squares.\n\n{}\n{tables}",
            self.scheme,
            self.steps,
            report::about(&root, self.debug_build)?
        );
        let out = root.join(&self.out);
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        let path = out.join("scale.md");
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn point(
        &self,
        root: &Path,
        binary: &Path,
        axis: &str,
        value: usize,
        keys: Vec<String>,
    ) -> Result<Point> {
        eprintln!("{axis} {value}");
        let mut command = Command::new(binary);
        command
            .arg(root.join("benches/models/S.toml"))
            .arg(format!("norm.scheme={}", self.scheme))
            .args(keys)
            .args(["--warm", "1"]);
        let (mut worker, ready) = Worker::start("bench_train", &mut command)?;
        let seconds = median(&worker.steps(self.steps)?);
        let memory = worker.peak_rss()?.context("the system tells no memory")?;
        let tokens = ready.tokens_per_step.context("the tokens of a step")?;
        Ok(Point {
            value,
            seconds: seconds / tokens,
            memory: memory as f64,
        })
    }
}

/// How memory grows beyond that of the first point.
fn powers_of_memory(points: &[Point]) -> String {
    let Some(first) = points.first() else {
        return String::new();
    };
    let value = |p: &Point| p.value as f64;
    let longer = |p: &Point| value(p) - value(first);
    let larger = |p: &Point| p.memory - first.memory;
    let rest = &points[1..];
    let added = slope(rest.iter().map(|p| (longer(p), larger(p))));
    let whole = slope(rest.iter().map(|p| (value(p), larger(p))));
    // Against the whole length even a straight line has a power above 1: it passes 0 at the first point, not at 0.
    let line = slope(rest.iter().map(|p| (value(p), longer(p))));
    format!(
        "What it takes beyond the shortest grows with the power {added:.2} of the length beyond the shortest, and with the\n\
         power {whole:.2} of the whole length, of which a straight line would have the power {line:.2}."
    )
}

fn table(name: &str, points: &[Point]) -> String {
    let mut text = format!("| {name} | tokens/s | peak memory, MiB |\n|---|---|---|\n");
    for point in points {
        let mebibytes = point.memory / f64::from(1 << 20);
        let speed = point.seconds.recip();
        let _ = writeln!(text, "| {} | {speed:.0} | {mebibytes:.0} |", point.value);
    }
    text
}

/// The power of `x` that fits `y` best: the slope of the logarithms by least squares.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let logs: Vec<(f64, f64)> = points.map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let covariance: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    covariance / logs.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_along_a_line_has_the_power_1_of_what_is_added() {
        let points = CONTEXTS.map(|value| Point {
            value,
            seconds: 1.0,
            memory: 1e8 + 1e5 * value as f64,
        });
        let text = powers_of_memory(&points);
        assert!(text.contains("power 1.00 of the length"), "{text}");
        assert!(text.contains("power 1.29 of the whole"), "{text}");
        assert!(text.contains("the power 1.29."), "{text}");
    }

    #[test]
    fn a_power_is_found() {
        let points = [1.0_f64, 2.0, 8.0].map(|x| (x, 5.0 * x.powf(1.5)));
        assert!((slope(points.into_iter()) - 1.5).abs() < 1e-12);
    }
}
