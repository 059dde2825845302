//! The data of a run, read the way its training read it.

use crate::failure::WrongInput;
use crate::overrides::Overrides;
use crate::tokenizing;
use anyhow::Result;
use evenburn_data::{BaselineScores, Baselines, Corpus};
use evenburn_train::config::RunConfig;
use std::sync::Arc;

/// Tokens a baseline is counted on at most: its counts are held in memory.
const BASELINE_TOKENS: u64 = 50_000_000;

/// The unigram and bigram models of the training tokens on the tokens that the trainer evaluates.
pub(super) fn baselines(config: &RunConfig, corpus: &Corpus) -> Result<BaselineScores> {
    let batches = corpus.validation.batches(
        config.model.context,
        config.train.batch_size,
        Some(config.train.eval_samples(config.model.context)),
    )?;
    let models = Baselines::fit(
        &corpus.train,
        config.model.vocab_size,
        Some(BASELINE_TOKENS),
    )?;
    Ok(models.score_all(batches)?)
}

/// The data of a trained run, or other data given by `--data.KEY VALUE`, in the run's tokens.
pub(super) fn corpus(
    config: &RunConfig,
    tokenizer: &std::path::Path,
    overrides: &Overrides,
) -> Result<Corpus> {
    if let Some((key, _)) = overrides
        .iter()
        .find(|(key, _)| !key.starts_with("data.") || key == "data.tokenizer")
    {
        let why = format!(
            "--{key}: a trained run only takes other data, --data.path and what belongs to it"
        );
        return Err(WrongInput(why).into());
    }
    let mut config = config.clone();
    if !overrides.is_empty() {
        config =
            RunConfig::from_toml("the run's configuration", &config.to_toml()?, overrides)?.config;
    }
    config.data.tokenizer = tokenizer.display().to_string();
    tokenizing::corpus(&config, Arc::default())
}
