//! A model that is evaluated: a run, one of its checkpoints, a folder of `transformers`, a repository of the hub.

use crate::args::WhichCheckpoints;
use crate::commands::imported_texts;
use crate::failure::WrongInput;
use crate::keys;
use crate::model_folder::ModelFolder;
use crate::output::tell;
use crate::overrides::Overrides;
use anyhow::{Context, Result};
use evenburn_data::Tokenizer;
use evenburn_files::Sha256;
use evenburn_interchange::{TextEnds, Texts, import};
use evenburn_model::{Decoder, weights};
use evenburn_train::config::RunConfig;
use evenburn_train::{Registry, TrainedRun, device, load_run_as};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that say that a folder was written by `transformers`.
const CONFIG: &str = "config.json";
/// The file of a run.
const RUN: &str = "config.toml";
/// The file of a checkpoint.
const STATE: &str = "state.json";

/// A loaded model.
pub(super) struct Candidate {
    /// As it was given, or where it was found.
    pub(super) place: String,
    /// What it is, in words.
    pub(super) what: String,
    /// Steps that it was trained for; nothing where nobody knows.
    pub(super) step: Option<u64>,
    /// Tokens that it takes.
    pub(super) context: usize,
    pub(super) decoder: Decoder,
    pub(super) tokenizer: Tokenizer,
    /// Equal for equal weights that are computed alike.
    pub(super) identity: String,
}

/// Every model that the command line means: each checkpoint is one.
pub(super) fn places(models: &[PathBuf], which: WhichCheckpoints) -> Result<Vec<PathBuf>> {
    if models.is_empty() {
        let why = "--tasks: name a model: a run, a folder of transformers, or hf://OWNER/NAME";
        return Err(WrongInput(why.to_owned()).into());
    }
    if which == WhichCheckpoints::Newest {
        return Ok(models.to_vec());
    }
    let [run] = models else {
        let why = "--checkpoints all: name one run".to_owned();
        return Err(WrongInput(why).into());
    };
    let folder = run.join("checkpoints");
    let listed = fs::read_dir(&folder).map_err(|e| {
        let why = format!(
            "--checkpoints all: {} can't be listed: {e}",
            folder.display()
        );
        WrongInput(why)
    })?;
    let mut found = Vec::new();
    for entry in listed {
        let path = entry.context("listing checkpoints")?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let step = name
            .strip_prefix("step-")
            .and_then(|step| step.parse::<u64>().ok());
        if let Some(step) = step.filter(|_| path.join(STATE).is_file()) {
            found.push((step, path));
        }
    }
    found.sort();
    if found.is_empty() {
        let why = format!(
            "--checkpoints all: {} holds no checkpoint",
            folder.display()
        );
        return Err(WrongInput(why).into());
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

impl Candidate {
    /// Loads a model; `device` is that of the command line.
    pub(super) fn load(
        registry: &Registry,
        given: &Path,
        device: Option<&String>,
        overrides: &Overrides,
    ) -> Result<Self> {
        let mut overrides = overrides.clone();
        keys::add(&mut overrides, "--device", "train.device", device.cloned())?;
        let elsewhere = given.to_str().is_some_and(|text| text.contains("://"));
        let is_folder = given.join(CONFIG).is_file() && !given.join(RUN).is_file();
        if elsewhere || is_folder {
            Self::of_folder(registry, given, &overrides)
        } else {
            Self::of_run(registry, given, &overrides)
        }
    }

    fn of_run(registry: &Registry, given: &Path, overrides: &Overrides) -> Result<Self> {
        let run = load_run_as(registry, given, overrides)?;
        for note in &run.notes {
            tell!("{note}");
        }
        let tokenizer = fs::read_to_string(&run.tokenizer).map_err(|e| {
            let path = run.tokenizer.display();
            WrongInput(format!(
                "{path}: benchmarks need the model's tokenizer: {e}"
            ))
        })?;
        let data = &run.config.data;
        let mut ends = TextEnds {
            end: Some(data.eod_token.clone()),
            begin: data.bos_token.clone(),
        };
        // What a checkpoint of `transformers` was imported with says more than what its tokenizer puts before a text.
        let is_given = overrides.iter().any(|(key, _)| key == "data.bos_token");
        if let Some(texts) = imported_texts(&run)?.filter(|_| !is_given) {
            ends.begin = TextEnds::of(&texts, &tokenizer).begin;
        }
        let tokenizer = with_ends(tokenizer, &run.tokenizer, &ends)?;
        let origin = run.origin.as_ref().map(|origin| format!(", {origin}"));
        Ok(Self {
            place: given.display().to_string(),
            what: format!("{}{}", run.plan.scheme, origin.unwrap_or_default()),
            step: run.origin.is_none().then_some(run.state.step),
            context: run.config.model.context,
            identity: identity_of_run(&run, overrides)?,
            decoder: run.decoder,
            tokenizer,
        })
    }

    fn of_folder(registry: &Registry, given: &Path, overrides: &Overrides) -> Result<Self> {
        let resolved = RunConfig::load(registry, None, overrides)?;
        let folder = ModelFolder::find(given, &resolved.config.data)?;
        let read = import(&folder.path)?;
        let choice = device::choose(&resolved.config.train, &resolved.origins)?;
        for note in &choice.notes {
            tell!("{note}");
        }
        let file = folder.path.join("tokenizer.json");
        let Some(json) = read.tokenizer else {
            let why = "benchmarks need the model's tokenizer, and there is no such file";
            return Err(WrongInput(format!("{}: {why}", file.display())).into());
        };
        let ends = ends(&read.texts, &json, overrides, &resolved.config);
        let tokenizer = with_ends(json, &file, &ends)?;
        let mut hash = Sha256::default();
        hash.update(format!(
            "{:?} {:?} {overrides:?}",
            read.plan, choice.precision
        ));
        for (path, data) in &read.weights {
            hash.update(format!("{path} {:?}", data.shape()));
            hash.update(data.as_bytes());
        }
        let decoder = Decoder::new(&read.plan, 0, &choice.device);
        let decoder = decoder.with_precision(choice.precision.into());
        Ok(Self {
            place: folder.place.display().to_string(),
            what: read.class.to_owned(),
            step: None,
            context: read.config.context,
            decoder: weights::replace(decoder, read.weights)?,
            tokenizer,
            identity: hash.finish(),
        })
    }

    /// Its name for people, with its step.
    pub(super) fn name(&self) -> String {
        let place = self.place.trim_end_matches('/');
        match self.step {
            Some(step) if !place.contains("step-") => format!("{place} at step {step}"),
            _ => place.to_owned(),
        }
    }
}

/// The ends of a folder's texts, or those that the command line names.
fn ends(texts: &Texts, tokenizer: &str, overrides: &Overrides, config: &RunConfig) -> TextEnds {
    let is_given = |key: &str| overrides.iter().any(|(given, _)| given == key);
    let mut ends = TextEnds::of(texts, tokenizer);
    if is_given("data.eod_token") {
        ends.end = Some(config.data.eod_token.clone());
    }
    if is_given("data.bos_token") {
        ends.begin.clone_from(&config.data.bos_token);
    }
    ends
}

/// A tokenizer with the tokens at the ends of a text.
fn with_ends(json: String, file: &Path, ends: &TextEnds) -> Result<Tokenizer> {
    let Some(end) = &ends.end else {
        let why = "nothing says which token ends a text (eos_token of tokenizer_config.json, eos_token_id of config.json); name it with --data.eod_token NAME";
        return Err(WrongInput(format!("{}: {why}", file.display())).into());
    };
    let tokenizer = Tokenizer::from_json(json, file, end)?;
    Ok(tokenizer.with_bos(ends.begin.as_deref())?)
}

/// Of a run, the sums of its checkpoint stand for its weights.
fn identity_of_run(run: &TrainedRun, overrides: &Overrides) -> Result<String> {
    let mut hash = Sha256::default();
    let train = &run.config.train;
    let how = (&run.state.plan, &train.device, train.precision, &run.notes);
    hash.update(format!("{how:?} {overrides:?}"));
    let sums = run.checkpoint.join("checksums.b3");
    let bytes = fs::read(&sums).or_else(|_| fs::read(run.checkpoint.join("model.safetensors")));
    hash.update(bytes.with_context(|| format!("reading {}", sums.display()))?);
    Ok(hash.finish())
}
