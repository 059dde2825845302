//! The data of a run.

use std::path::Path;

use evenburn_data::{
    DataConfig, DataError, Evaluation, MixedText, Prepare, Progress, Text, Tokenizer, TrainingData,
    mixture_tokenizer, prepare_ahead, prepare_ahead_in,
};

use crate::config::RunConfig;

/// Prepares the text of a configuration as `data.prepare` says, with validation text in any case: where no document of what
/// is all tokenized falls into it, the end of the text is held out ([`Corpus::hold_out`](evenburn_data::Corpus::hold_out)),
/// at least one evaluation batch. The sources of a mixture are prepared one after the other, in the tokens of one tokenizer.
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
/// let (_, text) = data.texts()[0];
/// assert_eq!(text.validation().samples(32), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prepare(
    config: &RunConfig,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<TrainingData, DataError> {
    if config.data.sources.is_empty() {
        return Ok(text(config, &config.data, None, cache, progress)?.into());
    }
    let tokenizer = mixture_tokenizer(&config.data, cache, progress)?;
    mixture(config, &tokenizer, cache, progress)
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
    if config.data.sources.is_empty() {
        return Ok(text(config, &config.data, Some(tokenizer), cache, progress)?.into());
    }
    mixture(config, &tokenizer, cache, progress)
}

/// Every source by itself.
fn mixture(
    config: &RunConfig,
    tokenizer: &Tokenizer,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<TrainingData, DataError> {
    config.data.validate()?;
    let mut sources = Vec::new();
    for source in &config.data.sources {
        let data = config.data.of_source(source);
        let tokenizer = Some(tokenizer.clone());
        sources.push(MixedText {
            name: source.name.clone(),
            weight: source.weight.clone(),
            text: text(config, &data, tokenizer, cache, progress)?,
        });
    }
    Ok(TrainingData::Mixture(sources))
}

/// One text, in the tokens of a tokenizer where one is at hand.
fn text(
    config: &RunConfig,
    data: &DataConfig,
    tokenizer: Option<Tokenizer>,
    cache: &Path,
    progress: &dyn Progress,
) -> Result<Text, DataError> {
    match data.prepares() {
        Prepare::All => {
            let corpus = match tokenizer {
                Some(tokenizer) => evenburn_data::prepare_in(data, tokenizer, cache, progress)?,
                None => evenburn_data::prepare(data, cache, progress)?,
            };
            let held = corpus.hold_out(data.validation_fraction, config.evaluation_batch())?;
            Ok(held.into())
        }
        Prepare::Ahead => {
            let need = evaluation(config);
            let corpus = match tokenizer {
                Some(tokenizer) => prepare_ahead_in(data, tokenizer, need, cache, progress)?,
                None => prepare_ahead(data, need, cache, progress)?,
            };
            Ok(corpus.into())
        }
    }
}

/// What evaluations read of a stream's validation text.
fn evaluation(config: &RunConfig) -> Evaluation {
    let context = config.model.context;
    Evaluation {
        context,
        samples: config.train.eval_samples(context),
    }
}
