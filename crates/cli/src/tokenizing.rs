//! Preparing the data with a progress bar.

use anyhow::Result;
use evenburn_data::{Corpus, DataConfig, Phase, ProgressState, Tokenizer, prepare, prepare_in};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::path::PathBuf;
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

/// A progress bar on standard error that stops the work when `stop` is set.
pub(crate) fn bar(
    stop: Arc<AtomicBool>,
) -> impl Fn(&ProgressState) -> ControlFlow<()> + Send + Sync {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(
        "{prefix:<20} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta} left",
    ) {
        bar.set_style(style);
    }
    move |state| {
        bar.set_prefix(match state.phase {
            Phase::Hashing => "reading",
            Phase::TrainingTokenizer => "learning a tokenizer",
            Phase::Tokenizing => "tokenizing",
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

/// Tokenizes what the cache does not hold yet and opens both splits.
pub(crate) fn corpus(config: &DataConfig, stop: Arc<AtomicBool>) -> Result<Corpus> {
    Ok(prepare(config, &cache_folder(), &bar(stop))?)
}

/// [`corpus`] in the tokens of a trained model.
pub(crate) fn corpus_in(
    config: &DataConfig,
    tokenizer: Tokenizer,
    stop: Arc<AtomicBool>,
) -> Result<Corpus> {
    Ok(prepare_in(config, tokenizer, &cache_folder(), &bar(stop))?)
}
