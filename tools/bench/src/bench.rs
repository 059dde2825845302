//! `cargo xtask bench`: what things cost, beside PyTorch in the same run.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{data, decode, eval, optim, ranks, scale, schemes, train};

/// Measures training beside PyTorch, in turns in one run.
///
/// Trains the models of `benches/models` with each scheme, a few steps of each contender in turn: this project in f32, and
/// PyTorch eager, compiled, and compiled with bfloat16 autocast (`tools/bench/torch/train.py`, in an environment of `PyPI`'s
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
        cargo xtask bench eval\n  \
        cargo xtask bench data\n  \
        cargo xtask bench schemes\n  \
        cargo xtask bench scale\n  \
        cargo xtask bench optim\n  \
        cargo xtask bench ranks"
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    train: train::TrainArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    Data(data::DataArgs),
    Optim(optim::OptimArgs),
    Ranks(ranks::RanksArgs),
    Decode(decode::DecodeArgs),
    Eval(eval::EvalArgs),
    Scale(scale::ScaleArgs),
    Schemes(schemes::SchemesArgs),
}

impl BenchArgs {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.what {
            Some(What::Data(arguments)) => arguments.run(),
            Some(What::Optim(arguments)) => arguments.run(),
            Some(What::Ranks(arguments)) => arguments.run(),
            Some(What::Decode(arguments)) => arguments.run(),
            Some(What::Eval(arguments)) => arguments.run(),
            Some(What::Scale(arguments)) => arguments.run(),
            Some(What::Schemes(arguments)) => arguments.run(),
            None => self.train.run(),
        }
    }
}
