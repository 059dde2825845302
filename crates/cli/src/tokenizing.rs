//! Preparing the data with a progress bar.

use crate::output::tell;
use anyhow::Result;
use evenburn_data::{
    DataConfig, DataError, Phase, ProgressState, Tokenizer, TrainingData, open_storage,
};
use evenburn_locations::{Settings, Storage};
use evenburn_train::config::RunConfig;
use evenburn_train::{prepare, prepare_in};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Folder under which tokens are cached: `EVENBURN_CACHE`, else the user's cache folder, else `.evenburn`.
pub(crate) fn cache_folder() -> PathBuf {
    let var = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let user = if cfg!(windows) {
        var("LOCALAPPDATA")
    } else {
        var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))
    };
    var("EVENBURN_CACHE")
        .or_else(|| Some(user?.join("evenburn")))
        .unwrap_or_else(|| PathBuf::from(".evenburn"))
}

/// What reads files wherever they lie, with the settings of the process; what it fetches is kept where `data` says.
pub(crate) fn storage(data: &DataConfig) -> Result<Storage> {
    let cache = data.cache.clone().unwrap_or_else(cache_folder);
    Ok(Storage::new(Settings::of_process(&cache)).map_err(DataError::Location)?)
}

/// A progress bar on standard error that stops the work when `stop` is set.
pub(crate) fn bar(
    stop: Arc<AtomicBool>,
) -> impl Fn(&ProgressState) -> ControlFlow<()> + Send + Sync {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(
        "{elapsed:>4} {prefix:<20} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta} left",
    ) {
        bar.set_style(style);
    }
    move |state| {
        bar.set_prefix(match state.phase {
            Phase::Fetching => "fetching",
            Phase::Hashing => "reading",
            Phase::TrainingTokenizer => "learning a tokenizer",
            Phase::Merging => "learning its merges",
            Phase::Tokenizing => "tokenizing",
            Phase::Validation => "validation text",
        });
        bar.set_length(state.bytes_total);
        bar.set_position(state.bytes_done);
        bar.set_message(format!(
            "{} documents, {} tokens",
            state.documents, state.tokens
        ));
        if stop.load(Ordering::Relaxed) {
            bar.abandon();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// Loads a tokenizer with the ends of documents that `data` names, and says on standard error what is done otherwise than
/// its file says.
pub(crate) fn tokenizer(place: &Path, data: &DataConfig) -> Result<Tokenizer> {
    let tokenizer = match place.to_str() {
        Some(place) => {
            let names_it = DataConfig {
                tokenizer: place.to_owned(),
                ..data.clone()
            };
            let storage = open_storage(&names_it, &cache_folder())?;
            Tokenizer::from_location(place, &data.eod_token, &storage)?
        }
        None => Tokenizer::from_file(place, &data.eod_token)?,
    };
    let tokenizer = tokenizer.with_bos(data.bos_token.as_deref())?;
    for remark in tokenizer.remarks() {
        tell!("note: {remark}");
    }
    Ok(tokenizer)
}

/// Tokenizes what the cache does not hold yet, or as much of it as a stream needs to begin, in the tokens of a run where it
/// has a `tokenizer.json` of its own, and says what was read.
pub(crate) fn corpus(
    config: &RunConfig,
    own: Option<&Path>,
    stop: Arc<AtomicBool>,
) -> Result<TrainingData> {
    let (cache, bar) = (cache_folder(), bar(stop));
    let data = match own {
        Some(file) => {
            let tokenizer = Tokenizer::from_file(file, &config.data.eod_token)?;
            prepare_in(config, tokenizer, &cache, &bar)?
        }
        None => prepare(config, &cache, &bar)?,
    };
    for line in data.reading() {
        tell!("{line}");
    }
    Ok(data)
}
