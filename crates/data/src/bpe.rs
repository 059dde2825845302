//! Learns a byte-level BPE with GPT-2's pre-tokenizer.

use std::sync::{Arc, Mutex, PoisonError};

use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use crate::{DataError, cut};

/// A pair that occurs less often than this is not merged.
const MIN_COUNT: u64 = 2;

/// GPT-2's pre-tokenizer: its regular expression, every byte a printable character, no space put
/// in front.
fn byte_level() -> ByteLevel {
    ByteLevel::new(false, false, true)
}

/// What went wrong while training.
pub(crate) enum Failure {
    /// Reading the texts.
    Texts(DataError),
    /// The trainer.
    Trainer(tokenizers::Error),
}

impl From<tokenizers::Error> for Failure {
    fn from(error: tokenizers::Error) -> Self {
        Self::Trainer(error)
    }
}

/// Trains on `texts`. Ids: the special token, the 256 bytes in the order of their characters, then
/// the merges. The trainer sums counts and breaks ties by id, so neither threads nor hashing matter.
pub(crate) fn train(
    texts: impl Iterator<Item = Result<String, DataError>> + Send,
    vocab_size: usize,
    special: &str,
) -> Result<Tokenizer, Failure> {
    let special = AddedToken::from(special, true);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(byte_level()));
    tokenizer.with_decoder(Some(byte_level()));
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .min_frequency(MIN_COUNT)
        .vocab_size(vocab_size)
        .special_tokens(vec![special])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();

    // The trainer takes plain texts: the first error ends them and is kept aside.
    let failed = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&failed);
    let good = texts.map_while(move |text| {
        text.map_err(|e| *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(e))
            .ok()
    });
    let pieces = good.flat_map(|text| -> Vec<String> {
        let pieces = cut::pieces(&text, cut::PIECE);
        pieces.into_iter().map(str::to_owned).collect()
    });
    tokenizer.train(&mut TrainerWrapper::from(trainer), pieces)?;
    let error = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    match error {
        Some(e) => Err(Failure::Texts(e)),
        None => Ok(tokenizer),
    }
}
