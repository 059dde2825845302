//! `cargo xtask profile`: where a training step's time goes.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::build;
use crate::train::model;
use crate::worker::{Measured, Worker};
use evenburn_workspace::{root, say};

/// Prints where a training step's time goes, operation by operation.
///
/// One line for each fused operation of the CPU with the shape of its problem: calls and milliseconds in a step, its share of
/// the step, and what it reaches of the measured peaks, in arithmetic for products and in traffic (inputs and outputs, each
/// counted once) for all. The rest of a step is in Burn's own operations, memory management and the graph of gradients.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask profile\n  \
    cargo xtask profile --model M model.context=1024 norm.scheme=angpt")]
pub(crate) struct ProfileArgs {
    /// Name of a file in benches/models, or the path of such a file
    #[arg(long, default_value = "S")]
    model: String,
    /// Steps that are measured
    #[arg(long, default_value_t = 5)]
    steps: u64,
    /// Build without optimization of the project's own crates (its kernels and Burn always are)
    #[arg(long)]
    debug_build: bool,
    /// Keys in place of the file's
    #[arg(value_name = "KEY=VALUE")]
    keys: Vec<String>,
}

impl ProfileArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let (_, file) = model(&root, &self.model)?;
        let binary = build(&root, "bench_train", self.debug_build)?;
        let mut command = Command::new(binary);
        command.arg(file).args(&self.keys);
        let (mut worker, ready) = Worker::start("bench_train", &mut command)?;
        let measured = worker.parts(self.steps)?;
        let peak = worker.peak()?;
        say!(
            "{}",
            table(&measured, peak.gflops, peak.gbytes_per_sec).trim_end()
        )?;
        let seconds = measured.seconds / measured.steps as f64;
        let tokens = ready.tokens_per_step.context("the tokens of a step")?;
        let flops = ready.flops_per_token.context("the operations of a token")? * tokens;
        say!(
            "\na step of {tokens:.0} tokens takes {:.1} ms, {:.0} tokens/s; its model's {:.1} GFLOP run at {:.1} GFLOP/s, {:.0} % of {:.1}",
            seconds * 1e3,
            tokens / seconds,
            flops / 1e9,
            flops / seconds / 1e9,
            100.0 * flops / seconds / 1e9 / peak.gflops,
            peak.gflops
        )?;
        Ok(())
    }
}

/// One line for each operation and shape, slowest first, then what no operation accounts for.
fn table(measured: &Measured, gflops: f64, gbytes: f64) -> String {
    let steps = measured.steps as f64;
    let mut costs: Vec<_> = measured.costs.iter().collect();
    costs.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let mut text = format!(
        "{:<22} {:<9} {:<22} {:>6} {:>9} {:>7} {:>9} {:>7} {:>7} {:>7}\n",
        "operation",
        "pass",
        "shape",
        "calls",
        "ms",
        "share",
        "GFLOP/s",
        "of peak",
        "GB/s",
        "of peak"
    );
    let line = |name: &str, pass: &str, shape: &str, calls: f64, seconds: f64, rates: &str| {
        format!(
            "{name:<22} {pass:<9} {shape:<22} {calls:>6.0} {:>9.2} {:>6.1}% {rates}\n",
            1e3 * seconds / steps,
            100.0 * seconds / measured.seconds
        )
    };
    for cost in costs {
        let rate = |amount: f64, peak: f64| {
            let rate = amount / cost.seconds / 1e9;
            (rate, 100.0 * rate / peak)
        };
        let (arithmetic, of_gflops) = rate(cost.flops, gflops);
        let (traffic, of_gbytes) = rate(cost.bytes, gbytes);
        let rates = if cost.flops > 0.0 {
            format!("{arithmetic:>9.1} {of_gflops:>6.0}% {traffic:>7.1} {of_gbytes:>6.0}%")
        } else {
            format!("{:>9} {:>7} {traffic:>7.1} {of_gbytes:>6.0}%", "", "")
        };
        let shape: Vec<String> = cost.shape.iter().map(usize::to_string).collect();
        let calls = cost.calls as f64 / steps;
        text += &line(
            &cost.operation,
            &cost.pass,
            &shape.join(" x "),
            calls,
            cost.seconds,
            &rates,
        );
    }
    let counted: f64 = measured.costs.iter().map(|cost| cost.seconds).sum();
    text += &line("data", "", "", 1.0, measured.data, "");
    let rest = measured.seconds - counted - measured.data;
    text + &line("everything else", "", "", 1.0, rest, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_are_of_one_step() {
        let json = r#"{"steps": 2, "seconds": 4.0, "data": 0.0, "update": 0.0, "costs": [{"operation": "linear",
            "pass": "forward", "shape": [2, 3, 4], "calls": 6, "seconds": 1.0, "flops": 5e9, "bytes": 1e9}]}"#;
        let text = table(&serde_json::from_str(json).unwrap(), 10.0, 4.0);
        let line = text.lines().nth(1).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[0..2], ["linear", "forward"]);
        assert_eq!(
            words[7..],
            ["3", "500.00", "25.0%", "5.0", "50%", "1.0", "25%"]
        );
        assert!(
            text.lines().last().unwrap().contains("1500.00   75.0%"),
            "{text}"
        );
    }
}
