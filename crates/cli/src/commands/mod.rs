//! One file per command.

mod bench;
mod config;
mod cooldown;
mod data;
mod describe;
mod eval;
mod export;
mod fold;
mod import;
pub(crate) mod places;
mod run_data;
mod sample;
mod tokenizer;
mod train;

use crate::args::{Arguments, Command, Compute};
use crate::keys::{self, Keys};
use crate::output::tell;
use crate::overrides::Overrides;
use anyhow::{Context, Result};
use evenburn_interchange::Texts;
use evenburn_train::Registry;
use evenburn_train::weights_only::ModelOrigin;
use evenburn_train::{TrainedRun, Trainer, load_run_as};
use std::fs;
use std::path::Path;

/// Runs one command; `trainer` adds what the program has to a trainer.
pub(crate) fn run(
    registry: &Registry,
    trainer: &dyn Fn(Trainer) -> Trainer,
    arguments: Arguments,
    overrides: Overrides,
) -> Result<()> {
    let Arguments { command, kernels } = arguments;
    keys::check(registry, Keys::of(&command), &overrides)?;
    match command {
        Command::Train(arguments) => train::run(registry, trainer, arguments, overrides),
        Command::Eval(arguments) => eval::run(registry, kernels, arguments, overrides),
        Command::Describe(arguments) => describe::run(registry, &arguments, &overrides),
        Command::Config(arguments) => config::run(registry, &arguments, &overrides),
        Command::Data(arguments) => data::run(registry, &arguments, &overrides),
        Command::Cooldown(arguments) => cooldown::run(registry, &arguments),
        Command::Sample(arguments) => sample::run(registry, arguments, overrides),
        Command::Fold(arguments) => fold::run(registry, arguments, overrides),
        Command::Import(arguments) => import::run(registry, &arguments, &overrides),
        Command::Export(arguments) => export::run(registry, arguments, overrides),
        Command::Tokenizer(arguments) => tokenizer::run(registry, arguments, overrides),
    }
}

/// The `tokenizer.json` of a run; an imported model may have none.
fn tokenizer_json(run: &TrainedRun) -> Result<Option<String>> {
    match fs::read_to_string(&run.tokenizer) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).context(format!("reading {}", run.tokenizer.display())),
    }
}

/// How the texts of an imported model begin and end.
fn imported_texts(run: &TrainedRun) -> Result<Option<Texts>> {
    let recorded = run.origin.as_ref().and_then(ModelOrigin::texts);
    recorded
        .map(|texts| serde_json::from_value(texts.clone()).context("reading frozen.json"))
        .transpose()
}

/// The model of a run where the command line wants it computed, with the keys that it sets. What the run recorded and
/// this machine lacks is said.
fn load(
    registry: &Registry,
    run: &Path,
    compute: Compute,
    mut overrides: Overrides,
) -> Result<TrainedRun> {
    keys::add(&mut overrides, "--device", "train.device", compute.device)?;
    let run = load_run_as(registry, run, &overrides)?;
    for note in &run.notes {
        tell!("{note}");
    }
    Ok(run)
}
