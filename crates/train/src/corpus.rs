//! The data of a run.

use std::path::Path;

use evenburn_data::{Corpus, DataError, Progress, Tokenizer};

use crate::config::RunConfig;

/// Prepares the text of a configuration, with validation text in any case: where no document falls into it, the end of
/// the text is held out ([`Corpus::hold_out`]), at least one evaluation batch.
///
/// # Errors
/// As [`evenburn_data::prepare`].
///
/// ```
/// use evenburn_train::config::RunConfig;
/// let dir = tempfile::tempdir()?;
/// let text = dir.path().join("input.txt");
/// std::fs::write(&text, "one long text, ".repeat(1000))?;
/// let mut config = RunConfig::default();
/// (config.model.context, config.train.batch_size) = (32, 4);
/// config.data.path = text.to_str().unwrap_or_default().into();
/// config.data.tokenizer_vocab = 257;
/// let corpus = evenburn_train::prepare(&config, &dir.path().join("cache"), &())?;
/// assert_eq!(corpus.validation.samples(32), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prepare(
    config: &RunConfig,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Corpus, DataError> {
    held_out(
        config,
        evenburn_data::prepare(&config.data, cache, progress)?,
    )
}

/// [`prepare`] in the tokens of a tokenizer that is at hand: a run that goes on keeps its own.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_in(
    config: &RunConfig,
    tokenizer: Tokenizer,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Corpus, DataError> {
    held_out(
        config,
        evenburn_data::prepare_in(&config.data, tokenizer, cache, progress)?,
    )
}

fn held_out(config: &RunConfig, corpus: Corpus) -> Result<Corpus, DataError> {
    corpus.hold_out(config.data.validation_fraction, config.evaluation_batch())
}
