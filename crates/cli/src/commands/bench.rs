//! `evenburn data bench`: how fast text becomes tokens, stage by stage.

use super::places::{Unreadable, count, list};
use crate::output::{say, tell};
use crate::tokenizing::{self, cache_folder};
use anyhow::Result;
use evenburn_data::{DataConfig, ListedFile, Source, Stage, StageLimits, Stages, measure_stages};
use evenburn_locations::{Environment, Settings, Storage};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) fn run(config: &DataConfig, limits: &StageLimits, json: bool) -> Result<()> {
    config.validate()?;
    let cache = config.cache.clone().unwrap_or_else(cache_folder);
    let folder = Scratch(cache.join(format!("bench-{}", std::process::id())));
    let stages = measure(config, limits, &folder.0)?;
    if json {
        say!("{}", object(&stages))?;
        return Ok(());
    }
    say!(
        "{} documents of {} files, {} bytes of text, {} tokens, {} threads",
        count(stages.documents as u64),
        count(stages.files as u64),
        count(stages.text_bytes),
        count(stages.tokens),
        stages.threads
    )?;
    for Stage {
        name,
        bytes,
        seconds,
    } in &stages.stages
    {
        say!("{}", line(name, *bytes, *seconds, stages.tokens))?;
    }
    let together = line(
        "together",
        stages.text_bytes,
        stages.together_seconds,
        stages.tokens,
    );
    say!("{together}")?;
    if let Some(slowest) = stages.slowest() {
        say!("the slowest is {}", slowest.name)?;
    }
    Ok(())
}

/// A folder for what is fetched and written, which goes at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that stays is harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn measure(config: &DataConfig, limits: &StageLimits, folder: &Path) -> Result<Stages> {
    let tokenizer = if config.tokenizer == DataConfig::TRAIN {
        tell!("the tokenizer is trained on the documents; data.tokenizer names another");
        None
    } else {
        let file = Path::new(&config.tokenizer);
        Some(tokenizing::tokenizer(file, config)?)
    };
    let files = listed(config, limits, &folder.join("first"))?;
    let again = listed(config, limits, &folder.join("again"))?;
    let sources = |files: &[Arc<ListedFile>]| -> Vec<Arc<dyn Source>> {
        let sources = files.iter().map(|file| Arc::clone(file) as Arc<dyn Source>);
        sources.collect()
    };
    let measured = measure_stages(
        sources(&files),
        &sources(&again),
        config,
        tokenizer,
        folder,
        limits,
    );
    measured.map_err(|error| {
        let mut files = files.iter().chain(&again);
        match files.find(|file| file.failure().is_some()) {
            Some(file) => Unreadable::decoding(file, &error).into(),
            None => error.into(),
        }
    })
}

/// The files of text that the configuration names. What of them is fetched goes into a folder of its own: what is in a
/// cache already would not be fetched.
fn listed(
    config: &DataConfig,
    limits: &StageLimits,
    folder: &Path,
) -> Result<Vec<Arc<ListedFile>>> {
    let hub = ("HF_HUB_CACHE".into(), folder.join("hub").into_os_string());
    let variables = env::vars_os().chain([hub]);
    let variables = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let storage = Storage::new(Settings {
        environment: variables.collect::<Environment>(),
        // Of larger ones, what is read.
        whole_up_to: limits.bytes,
        ..Settings::of_process(folder)
    })
    .map_err(Unreadable::from)?;
    let mut files = Vec::new();
    for path in &config.path.0 {
        let (_, listing) = list(&storage, path, None)?;
        let listed = listing.files.into_iter().map(ListedFile::new);
        files.extend(listed.filter(ListedFile::is_text).map(Arc::new));
    }
    if files.is_empty() {
        let why = format!(
            "{}: no file with documents is there",
            config.path.0.join(", ")
        );
        return Err(Unreadable::new("not_found", &why).into());
    }
    Ok(files)
}

/// Units a second, of some thing that took time.
fn per_second(units: u64, seconds: f64) -> f64 {
    units as f64 / seconds.max(f64::MIN_POSITIVE)
}

fn line(name: &str, bytes: u64, seconds: f64, tokens: u64) -> String {
    // What took no time has no speed.
    if seconds == 0.0 {
        return format!("{name:<8} {seconds:>9.3} s");
    }
    format!(
        "{name:<8} {seconds:>9.3} s {:>9.1} MB/s {:>15} tokens/s",
        per_second(bytes, seconds) / 1e6,
        count(per_second(tokens, seconds) as u64)
    )
}

/// The stages as JSON, with what follows from them.
fn object(stages: &Stages) -> serde_json::Value {
    let mut object = serde_json::json!(stages);
    object["tokens_per_second"] = per_second(stages.tokens, stages.together_seconds).into();
    object["slowest"] = stages.slowest().map(|stage| stage.name).into();
    object
}
