//! One file per command.

mod config;
mod cooldown;
mod data;
mod describe;
mod eval;
mod export;
mod fold;
mod import;
mod run_data;
mod sample;
mod tokenizer;
mod train;

use crate::args::Command;
use crate::failure::WrongInput;
use crate::overrides::Overrides;
use anyhow::{Context, Result};
use evenburn_interchange::Texts;
use evenburn_train::TrainedRun;
use evenburn_train::frozen::Frozen;

/// Runs one command.
pub(crate) fn run(command: Command, overrides: Overrides) -> Result<()> {
    match command {
        Command::Train(arguments) => train::run(arguments, overrides),
        Command::Eval(arguments) => eval::run(&arguments, &overrides),
        Command::Describe(arguments) => describe::run(&arguments, &overrides),
        Command::Config(arguments) => config::run(&arguments, &overrides),
        Command::Data(arguments) => data::run(&arguments, &overrides),
        Command::Cooldown(arguments) => {
            refuse(&overrides)?;
            cooldown::run(&arguments)
        }
        Command::Sample(arguments) => {
            refuse(&overrides)?;
            sample::run(&arguments)
        }
        Command::Fold(arguments) => {
            refuse(&overrides)?;
            fold::run(&arguments)
        }
        Command::Import(arguments) => import::run(&arguments, &overrides),
        Command::Export(arguments) => export::run(&arguments, &overrides),
        Command::Tokenizer(arguments) => {
            refuse(&overrides)?;
            tokenizer::run(&arguments)
        }
    }
}

/// How the texts of an imported model begin and end.
fn imported_texts(run: &TrainedRun) -> Result<Option<Texts>> {
    let recorded = run.frozen.as_ref().and_then(Frozen::texts);
    recorded
        .map(|texts| serde_json::from_value(texts.clone()).context("reading frozen.json"))
        .transpose()
}

/// Keys that a command would ignore are a mistake.
fn refuse(overrides: &Overrides) -> Result<()> {
    match overrides.first() {
        None => Ok(()),
        Some((key, _)) => {
            let why = format!("--{key}: this command takes no configuration keys");
            Err(WrongInput(why).into())
        }
    }
}
