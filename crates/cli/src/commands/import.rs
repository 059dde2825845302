//! `evenburn import`.

use crate::args::Import;
use crate::model_folder::ModelFolder;
use crate::output::say;
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_interchange::import;
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use evenburn_train::weights_only::{ModelOrigin, WeightsOnlyModel};
use indicatif::HumanCount;

pub(super) fn run(registry: &Registry, arguments: &Import, overrides: &Overrides) -> Result<()> {
    let data = RunConfig::load(registry, None, overrides)?.config.data;
    let folder = ModelFolder::find(&arguments.folder, &data)?;
    let read = import(&folder.path)?;
    let mut config = RunConfig {
        model: read.config,
        norm: read.scheme,
        ..RunConfig::default()
    };
    if !folder.name.is_empty() {
        config.run.name = folder.name;
    }
    if let Some(token) = &read.texts.end_token {
        config.data.eod_token.clone_from(token);
    }
    config.data.bos_token.clone_from(&read.texts.begin_token);
    let config = RunConfig::from_toml(
        registry,
        "the imported configuration",
        &config.to_toml()?,
        overrides,
    )?
    .config;
    let parameters = read.plan.cost().params;
    let mut said = read.left_out;
    said.extend(about_texts(
        read.tokenizer.is_some(),
        &config,
        read.texts.end_token.as_ref(),
    ));
    let written = WeightsOnlyModel {
        origin: ModelOrigin::Import {
            folder: folder.place,
            class: read.class.to_owned(),
            texts: Some(serde_json::to_value(&read.texts)?),
        },
        config: &config,
        plan: &read.plan,
        weights: read.weights.into_iter().collect(),
        tokenizer: read.tokenizer.as_deref(),
        trained: (0, 0),
    }
    .write(arguments.out.as_deref())?;
    say!(
        "{} as {}: {} parameters",
        read.class,
        read.plan.scheme,
        HumanCount(parameters as u64)
    )?;
    for sentence in said {
        say!("{sentence}")?;
    }
    say!("imported model: {}", written.display())?;
    Ok(())
}

/// What evaluation and sampling make of the ends of a text.
fn about_texts(tokenizer: bool, config: &RunConfig, end: Option<&String>) -> Vec<String> {
    if !tokenizer {
        return vec!["the folder has no tokenizer.json: `sample` and `eval` need one".to_owned()];
    }
    let mut said = Vec::new();
    if let Some(begin) = &config.data.bos_token {
        said.push(format!(
            "texts begin with {begin}, which the tokenizer puts before them (data.bos_token)"
        ));
    }
    let default = RunConfig::default().data.eod_token;
    if end.is_none() && config.data.eod_token == default {
        said.push(
            "nothing in the folder says which token ends a text: give `sample` and `eval` --data.eod_token NAME"
                .to_owned(),
        );
    }
    said
}
