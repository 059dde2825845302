//! `evenburn data inspect` and `evenburn data ids`.

use super::train::count;
use crate::args::Data;
use crate::overrides::Overrides;
use crate::tokenizing::{self, bar, cache_folder};
use anyhow::Result;
use evenburn_data::{DataConfig, InspectOptions, PathList, documents, find_sources, inspect};
use evenburn_train::config::RunConfig;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// Characters of a document or sample that are shown.
const SHOWN: usize = 600;

pub(super) fn run(arguments: &Data, overrides: &Overrides) -> Result<()> {
    match arguments {
        Data::Inspect {
            config,
            documents,
            samples,
        } => {
            let config = RunConfig::load(config.as_deref(), overrides)?.config;
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
        } => {
            super::refuse(overrides)?;
            ids(tokenizer, path, *documents)
        }
    }
}

fn show(config: &DataConfig, options: &InspectOptions) -> Result<()> {
    let found = inspect(config, &cache_folder(), &bar(Arc::default()), options)?;
    for line in &found.reading {
        println!("{line}");
    }
    println!(
        "tokenizer {}, vocabulary {}",
        found.tokenizer.sha256, found.tokenizer.vocab_size
    );
    for split in &found.splits {
        println!(
            "{:?}: {} sources, {} shards, {} documents, {} tokens, {} bytes of text, {} samples of {} tokens",
            split.split,
            count(split.sources as u64),
            count(split.shards as u64),
            count(split.documents),
            count(split.tokens),
            count(split.text_bytes),
            count(split.samples),
            options.context
        );
    }
    for (n, document) in found.documents.iter().enumerate() {
        println!(
            "\n--- document {} ({}, {} tokens)",
            n + 1,
            document.source,
            document.tokens.len()
        );
        println!("{}", cut(&document.text));
    }
    for (n, sample) in found.samples.iter().enumerate() {
        println!(
            "\n--- packed sample {} ({} documents)",
            n + 1,
            sample.documents
        );
        println!("{}", cut(&sample.text));
    }
    Ok(())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

fn ids(tokenizer: &std::path::Path, path: &[PathBuf], limit: usize) -> Result<()> {
    let config = DataConfig {
        path: PathList(path.iter().map(|p| p.display().to_string()).collect()),
        ..DataConfig::default()
    };
    let tokenizer = tokenizing::tokenizer(tokenizer, &config)?;
    let mut out = std::io::stdout().lock();
    let mut left = limit;
    for placed in find_sources(&config)?.sources {
        for document in documents(placed.source, &config.text_field)?.take(left) {
            let text = document?.text;
            let ids = tokenizer.encode(&text)?;
            writeln!(out, "{}", serde_json::json!({ "text": text, "ids": ids }))?;
            left -= 1;
        }
    }
    Ok(())
}
