//! `evenburn data inspect` and `evenburn data ids`; the others are in `places`.

use super::{bench, places};
use crate::args::Data;
use crate::failure::WrongInput;
use crate::output::{say, tell};
use crate::overrides::Overrides;
use crate::tokenizing::{self, bar, cache_folder};
use anyhow::Result;
use evenburn_data::{
    DataConfig, DataError, InspectOptions, PathList, PlacedSource, StageLimits, find_sources,
    inspect,
};
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use indicatif::HumanCount;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Characters of a document or sample that are shown.
const SHOWN: usize = 600;

pub(super) fn run(registry: &Registry, arguments: &Data, overrides: &Overrides) -> Result<()> {
    match arguments {
        Data::Inspect {
            config,
            documents,
            samples,
        } => {
            let config = RunConfig::load(registry, config.as_deref(), overrides)?.config;
            let options = InspectOptions {
                documents: *documents,
                samples: *samples,
                context: config.model.context,
                evaluation: config.evaluation_batch(),
                seed: config.train.seed,
            };
            show(&config.data, &options)
        }
        Data::Ids {
            tokenizer,
            path,
            documents,
        } => ids(tokenizer, &texts(registry, path, overrides)?, *documents),
        Data::Documents {
            locations,
            revision,
            split,
            sha256,
        } => {
            let config = RunConfig::load(registry, None, overrides)?.config.data;
            places::print_documents(locations, revision.as_deref(), *split, *sha256, &config)
        }
        Data::Ls {
            locations,
            revision,
        } => places::print_files(locations, revision.as_deref()),
        Data::Bench {
            config,
            seconds,
            bytes,
            threads,
            json,
        } => {
            let config = RunConfig::load(registry, config.as_deref(), overrides)?.config;
            let limits = StageLimits {
                bytes: bytes.get(),
                time: Duration::from_secs(seconds.get()),
                threads: threads.map(NonZeroUsize::get),
            };
            bench::run(&config.data, &limits, *json)
        }
        Data::Cache(command) => {
            let config = RunConfig::load(registry, None, overrides)?.config.data;
            places::cache(command, &config)
        }
    }
}

fn show(config: &DataConfig, options: &InspectOptions) -> Result<()> {
    let found = inspect(config, &cache_folder(), &bar(Arc::default()), options)?;
    for line in &found.reading {
        say!("{line}")?;
    }
    say!(
        "tokenizer {}, vocabulary {}",
        found.tokenizer.sha256,
        found.tokenizer.vocab_size
    )?;
    for split in &found.splits {
        say!(
            "{:?}: {} sources, {} shards, {} documents, {} tokens, {} bytes of text, {} samples of {} tokens",
            split.split,
            HumanCount(split.sources as u64),
            HumanCount(split.shards as u64),
            HumanCount(split.documents),
            HumanCount(split.tokens),
            HumanCount(split.text_bytes),
            HumanCount(split.samples),
            options.context
        )?;
    }
    for (n, document) in found.documents.iter().enumerate() {
        say!(
            "\n--- document {} ({}, {} tokens)",
            n + 1,
            document.source,
            document.tokens.len()
        )?;
        say!("{}", cut(&document.text))?;
    }
    for (n, sample) in found.samples.iter().enumerate() {
        say!(
            "\n--- packed sample {} ({} documents)",
            n + 1,
            sample.documents
        )?;
        say!("{}", cut(&sample.text))?;
    }
    Ok(())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The texts that a command line names, read as the keys on it say.
pub(super) fn texts(
    registry: &Registry,
    paths: &[PathBuf],
    overrides: &Overrides,
) -> Result<DataConfig> {
    let text = |path: &PathBuf| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            let why = "is not valid UTF-8; name the folder it is in";
            WrongInput(format!("{} {why}", path.display()))
        })
    };
    let path = paths.iter().map(text).collect::<Result<_, _>>()?;
    Ok(DataConfig {
        path: PathList(path),
        ..RunConfig::load(registry, None, overrides)?.config.data
    })
}

/// The files that a command line names. What isn't there was given as `PATH`, by no key.
fn sources(config: &DataConfig) -> Result<Vec<PlacedSource>> {
    let listing = find_sources(config).map_err(without_key)?;
    Ok(listing.sources)
}

/// An error of a command that takes its text as `PATH`.
pub(super) fn without_key(error: DataError) -> anyhow::Error {
    match error {
        DataError::NoTextPlace { path, .. } => {
            WrongInput(format!("no such file or folder: {path}")).into()
        }
        other => other.into(),
    }
}

fn ids(tokenizer: &Path, config: &DataConfig, limit: NonZeroUsize) -> Result<()> {
    let tokenizer = tokenizing::tokenizer(tokenizer, config)?;
    let mut left = limit.get();
    for placed in sources(config)? {
        let documents = match placed.documents(&config.text_field)? {
            Ok(documents) => documents,
            Err(why) => {
                tell!("left out: {}: {why}", placed.source.location().display());
                continue;
            }
        };
        for document in documents.take(left) {
            let text = document?.text;
            let ids = tokenizer.encode(&text)?;
            say!("{}", serde_json::json!({ "text": text, "ids": ids }))?;
            left -= 1;
        }
    }
    Ok(())
}
