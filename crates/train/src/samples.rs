//! Samples of generated text, `samples/step-00001000.txt`.

use std::path::PathBuf;

use evenburn_data::Tokenizer;
use evenburn_model::{Decoder, Plan, Positions, Recompute, Sampler};

use crate::durable;
use crate::error::TrainError;

/// The ids a text begins with: the token that stands before every document, and the prompt's.
pub(crate) fn opening(tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<i64>, TrainError> {
    let before = tokenizer.boundaries().first();
    let prompt = tokenizer.encode(prompt)?;
    Ok(std::iter::once(before)
        .chain(prompt)
        .map(i64::from)
        .collect())
}

/// Text from a model: the prompt and what the model makes of it. An empty prompt starts a new document. Only tokens that
/// the tokenizer has are drawn; its end-of-document token or any of `ends` ends the text.
///
/// # Errors
/// [`TrainError::Data`] for a prompt that can't be tokenized, [`TrainError::Sample`] for options out of range or logits
/// that are no numbers.
pub fn sample(
    decoder: &Decoder,
    tokenizer: &Tokenizer,
    ends: &[u32],
    prompt: &str,
    tokens: usize,
    sampler: &Sampler,
) -> Result<String, TrainError> {
    let ids = opening(tokenizer, prompt)?;
    let ends: Vec<i64> = std::iter::once(&tokenizer.eod())
        .chain(ends)
        .map(|id| i64::from(*id))
        .collect();
    let known = known(tokenizer);
    let allowed = |id: usize| known.get(id).copied().unwrap_or(false);
    let new = decoder.generate(&ids, tokens, &ends, allowed, sampler, Recompute::Cached)?;
    let text: Vec<u32> = ids[1..]
        .iter()
        .chain(new.iter().filter(|id| !ends.contains(id)))
        .filter_map(|id| u32::try_from(*id).ok())
        .collect();
    Ok(tokenizer.decode(&text)?)
}

/// New tokens that a text may have at most behind a prompt, where the model has learned its positions; none where any number
/// fits.
///
/// # Errors
/// [`TrainError::Data`] for a prompt that can't be tokenized.
pub fn room(plan: &Plan, tokenizer: &Tokenizer, prompt: &str) -> Result<Option<usize>, TrainError> {
    let dims = plan.dims();
    let taken = opening(tokenizer, prompt)?.len();
    Ok((dims.positions == Positions::Learned).then(|| dims.context.saturating_sub(taken)))
}

/// Whether the tokenizer has a token, by id; there may be gaps between them.
fn known(tokenizer: &Tokenizer) -> Vec<bool> {
    let mut known = vec![false; tokenizer.vocab_size()];
    for id in tokenizer.inner().get_vocab(true).into_values() {
        known[id as usize] = true;
    }
    known
}

/// What the samples of a run are made from.
#[derive(Clone)]
pub(crate) struct Samples {
    pub(crate) dir: PathBuf,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) prompt: String,
    pub(crate) tokens: usize,
    pub(crate) seed: u64,
}

impl Samples {
    /// Generates text, writes it to its file, and returns both; nothing if samples are turned off.
    pub(crate) fn write(
        &self,
        decoder: &Decoder,
        step: u64,
    ) -> Result<Option<(PathBuf, String)>, TrainError> {
        if self.tokens == 0 {
            return Ok(None);
        }
        let sampler = Sampler {
            seed: self.seed,
            ..Sampler::default()
        };
        let text = sample(
            decoder,
            &self.tokenizer,
            &[],
            &self.prompt,
            self.tokens,
            &sampler,
        )?;
        let path = self.dir.join(format!("step-{step:08}.txt"));
        durable::replace(&path, text.as_bytes())?;
        Ok(Some((path, text)))
    }
}
