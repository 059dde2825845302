//! `evenburn import`.

use super::train::count;
use crate::args::Import;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::{Context, Result};
use evenburn_interchange::import;
use evenburn_train::config::RunConfig;
use evenburn_train::frozen::{Frozen, Model};
use std::fs;

pub(super) fn run(arguments: &Import, overrides: &Overrides) -> Result<()> {
    let folder = &arguments.folder;
    let read = import(folder)?;
    let mut config = RunConfig {
        model: read.config,
        norm: read.scheme,
        ..RunConfig::default()
    };
    if let Some(name) = folder.file_name() {
        config.run.name = name.to_string_lossy().into_owned();
    }
    if let Some(token) = read.end_of_text {
        config.data.eod_token = token;
    }
    let config =
        RunConfig::from_toml("the imported configuration", &config.to_toml()?, overrides)?.config;
    let tokenizer = read
        .tokenizer
        .as_ref()
        .map(|path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display())))
        .transpose()?;
    let parameters = read.plan.cost().params;
    let written = Model {
        frozen: Frozen::Import {
            folder: folder.clone(),
            class: read.class.to_owned(),
        },
        config: &config,
        plan: &read.plan,
        weights: read.weights.into_iter().collect(),
        tokenizer: tokenizer.as_deref(),
        trained: (0, 0),
    }
    .write(arguments.out.as_deref())?;
    say!(
        "{} as {}: {} parameters",
        read.class,
        read.plan.scheme,
        count(parameters as u64)
    )?;
    if tokenizer.is_none() {
        say!("the folder has no tokenizer.json: `sample` and `eval` need one")?;
    }
    say!("imported model: {}", written.display())?;
    Ok(())
}
