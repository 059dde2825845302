//! The data of a run.

use std::path::Path;

use evenburn_data::{
    Corpus, DataError, Evaluation, Prepare, Progress, Tokenizer, TrainingData, prepare_ahead,
    prepare_ahead_in,
};

use crate::config::RunConfig;

/// Prepares the text of a configuration as `data.prepare` says, with validation text in any case: where no document of what
/// is all tokenized falls into it, the end of the text is held out ([`Corpus::hold_out`]), at least one evaluation batch.
///
/// # Errors
/// As [`evenburn_data::prepare`] and [`evenburn_data::prepare_ahead`].
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
/// let data = evenburn_train::prepare(&config, &dir.path().join("cache"), &())?;
/// assert_eq!(data.validation().samples(32), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prepare(
    config: &RunConfig,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<TrainingData, DataError> {
    match config.data.prepares() {
        Prepare::All => held_out(
            config,
            evenburn_data::prepare(&config.data, cache, progress)?,
        ),
        Prepare::Ahead => {
            let corpus = prepare_ahead(&config.data, evaluation(config), cache, progress)?;
            Ok(corpus.into())
        }
    }
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
) -> Result<TrainingData, DataError> {
    match config.data.prepares() {
        Prepare::All => held_out(
            config,
            evenburn_data::prepare_in(&config.data, tokenizer, cache, progress)?,
        ),
        Prepare::Ahead => {
            let need = evaluation(config);
            Ok(prepare_ahead_in(&config.data, tokenizer, need, cache, progress)?.into())
        }
    }
}

fn held_out(config: &RunConfig, corpus: Corpus) -> Result<TrainingData, DataError> {
    let held = corpus.hold_out(config.data.validation_fraction, config.evaluation_batch())?;
    Ok(held.into())
}

/// What evaluations read of a stream's validation text.
fn evaluation(config: &RunConfig) -> Evaluation {
    let context = config.model.context;
    Evaluation {
        context,
        samples: config.train.eval_samples(context),
    }
}
