//! Samples of generated text, `samples/step-00001000.txt`.

use std::path::PathBuf;

use evenburn_data::Tokenizer;
use evenburn_model::{Decoder, Recompute, Sampler};

use crate::durable;
use crate::error::TrainError;

/// Text from a model: the prompt and what the model makes of it. An empty prompt starts a new document. A text ends with
/// the tokenizer's end-of-document token, or with any of `ends`.
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
    let eod = tokenizer.eod();
    let mut ids = vec![i64::from(tokenizer.boundaries().first())];
    ids.extend(tokenizer.encode(prompt)?.into_iter().map(i64::from));
    let new = decoder.generate(
        &ids,
        tokens,
        Some(i64::from(eod)),
        sampler,
        Recompute::Cached,
    )?;
    let ends = |id: &i64| *id == i64::from(eod) || ends.iter().any(|end| i64::from(*end) == *id);
    let text: Vec<u32> = ids[1..]
        .iter()
        .chain(new.iter().take_while(|id| !ends(id)))
        .filter_map(|id| u32::try_from(*id).ok())
        // A model may have more entries than its tokenizer; nothing is written for those.
        .filter(|id| (*id as usize) < tokenizer.vocab_size())
        .collect();
    Ok(tokenizer.decode(&text)?)
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
