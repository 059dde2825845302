//! The project's own commands: `cargo xtask train`, `test`, `ci`, `corpus`, `parity`, `devices`, `reference`,
//! `bench`, `profile`, `instructions`, `build-cost`, `same-bits`.

mod arrows;
mod ci;
mod cost;
mod devices;
mod instructions;
mod invariants;
mod metadata;
mod orphans;
mod parity;
mod presets;
mod same_bits;
mod test;
mod tidy;
mod tools;
mod train;
mod wait;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use evenburn_workspace::end;

/// The project's own commands. Each explains itself: cargo xtask train --help
#[derive(Debug, Parser)]
// `help COMMAND` could not ask a tool; `COMMAND --help` does.
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Test(test::TestArgs),
    Ci(ci::CiArgs),
    /// Makes the default corpus from the documentation of the crates that the project is built from
    Corpus(tools::Rest),
    Parity(parity::ParityArgs),
    Devices(devices::DevicesArgs),
    /// Compares the project with the Python packages it has to agree with
    Reference(tools::Rest),
    /// Measures training beside `PyTorch`, in turns in one run
    Bench(tools::Rest),
    /// Prints where a training step's time goes, operation by operation
    Profile(tools::Rest),
    Instructions(instructions::InstructionsArgs),
    BuildCost(cost::CostArgs),
    SameBits(same_bits::SameBitsArgs),
}

impl Command {
    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Train(args) => args.run(),
            Self::Test(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::Ci(args) => args.run(),
            Self::Corpus(rest) => rest.run("evenburn-corpus", &[]),
            Self::Parity(args) => args.run(),
            Self::Devices(args) => args.run(),
            Self::Reference(rest) => rest.run("evenburn-reference", &[]),
            Self::Bench(rest) => rest.run("evenburn-bench", &["bench"]),
            Self::Profile(rest) => rest.run("evenburn-bench", &["profile"]),
            Self::Instructions(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::BuildCost(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::SameBits(args) => args.run(),
        }
    }
}

fn main() -> ExitCode {
    let words = train::own_options_first(std::env::args_os().collect());
    end(Cli::parse_from(words).command.run())
}
