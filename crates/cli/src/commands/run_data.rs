//! The data of a run, read the way its training read it.

use crate::tokenizing;
use anyhow::Result;
use evenburn_data::{BaselineScores, TrainingData};
use evenburn_train::TrainedRun;
use evenburn_train::config::RunConfig;
use std::sync::Arc;

/// Tokens a baseline is counted on at most: its counts are held in memory.
const BASELINE_TOKENS: u64 = 50_000_000;

/// The unigram and bigram models of the training tokens on the tokens that the trainer evaluates.
pub(super) fn baselines(config: &RunConfig, data: &TrainingData) -> Result<BaselineScores> {
    let vocab = config.model.vocab_size;
    let models = data.baselines(vocab, config.train.seed, BASELINE_TOKENS)?;
    let (context, batch) = (config.model.context, config.train.batch_size);
    let samples = Some(config.train.eval_samples(context));
    let texts = data.texts().into_iter();
    let batches = texts.map(|(_, text)| text.validation().batches(context, batch, samples));
    let batches = batches.collect::<Result<Vec<_>, _>>()?;
    Ok(models.score_all(batches.into_iter().flatten())?)
}

/// The text of a trained run, or that of the keys it was loaded with, in the run's tokens.
pub(super) fn corpus(run: &TrainedRun) -> Result<TrainingData> {
    tokenizing::corpus(&run.config, Some(&run.tokenizer), Arc::default())
}
