//! The project's own commands: `cargo xtask train`, `test`, `ci`, `corpus`, `parity`, `devices`, `reference`,
//! `bench`, `profile`, `instructions`, `build-cost`.

mod arrows;
mod bench;
mod ci;
mod corpus;
mod cost;
mod devices;
mod instructions;
mod parity;
mod profile;
mod program;
mod reference;
mod test;
mod tidy;
mod train;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own commands. Each explains itself: cargo xtask train --help
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Test(test::TestArgs),
    Ci(ci::CiArgs),
    Corpus(corpus::CorpusArgs),
    Parity(parity::ParityArgs),
    Devices(devices::DevicesArgs),
    Reference(reference::ReferenceArgs),
    Bench(Box<bench::BenchArgs>),
    Profile(profile::ProfileArgs),
    Instructions(instructions::InstructionsArgs),
    BuildCost(cost::CostArgs),
}

impl Command {
    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Train(args) => args.run(),
            Self::Test(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::Ci(args) => args.run(),
            Self::Corpus(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::Parity(args) => args.run(),
            Self::Devices(args) => args.run(),
            Self::Reference(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::Bench(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::Profile(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::Instructions(args) => args.run().map(|()| ExitCode::SUCCESS),
            Self::BuildCost(args) => args.run().map(|()| ExitCode::SUCCESS),
        }
    }
}

fn main() -> ExitCode {
    let words = train::own_options_first(std::env::args_os().collect());
    Cli::parse_from(words)
        .command
        .run()
        .unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        })
}
