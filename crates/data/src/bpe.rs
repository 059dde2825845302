//! Learns a byte-level BPE with GPT-2's pre-tokenizer.

use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer, Trainer,
};

use crate::{DataError, Phase, Progress, ProgressState, cut};

/// A pair that occurs less often than this is not merged.
const MIN_COUNT: u64 = 2;

/// Words are cut after so many bytes, for training only: the trainer goes through all of a word for
/// every pair that it merges there, so its time grows with the square of a word's length. The longest
/// of the default corpus, a line drawn through a table, has 240. (2 MB in one word take seconds.)
const LONGEST_WORD: usize = 1024;

/// Between two reports while the merges are computed.
const HEARTBEAT: Duration = Duration::from_millis(200);

/// GPT-2's pre-tokenizer: its regular expression, every byte a printable character, no space put
/// in front.
fn byte_level() -> ByteLevel {
    ByteLevel::new(false, false, true)
}

/// What ended training.
pub(crate) enum Failure {
    /// The texts couldn't be read, or it was asked to stop.
    Stopped(DataError),
    /// The trainer failed.
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
    progress: &dyn Progress,
) -> Result<Tokenizer, Failure> {
    let special = AddedToken::from(special, true);
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .min_frequency(MIN_COUNT)
        .vocab_size(vocab_size)
        .special_tokens(vec![special.clone()])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();

    // The trainer takes plain texts: the first error ends them and is kept aside.
    let failed = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&failed);
    let mut read = ProgressState {
        phase: Phase::Merging,
        source: String::new(),
        bytes_done: 0,
        bytes_total: 0,
        documents: 0,
        tokens: 0,
    };
    let good = texts.map_while(|text| {
        text.map_err(|e| *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some(e))
            .inspect(|text| {
                read.documents += 1;
                read.bytes_total += text.len() as u64;
            })
            .ok()
    });
    let pieces = good.flat_map(|text| -> Vec<String> {
        let pieces = cut::pieces(&text, cut::PIECE);
        pieces.into_iter().map(str::to_owned).collect()
    });
    trainer.feed(pieces, words)?;
    if let Some(e) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(Failure::Stopped(e));
    }
    read.bytes_done = read.bytes_total;
    let mut tokenizer = Tokenizer::new(merge(trainer, &read, progress)?);
    tokenizer.with_pre_tokenizer(Some(byte_level()));
    tokenizer.with_decoder(Some(byte_level()));
    tokenizer.add_special_tokens([special])?;
    Ok(tokenizer)
}

/// The words of a text, in the byte-level alphabet.
fn words(text: &str) -> tokenizers::Result<Vec<String>> {
    let mut words = PreTokenizedString::from(text);
    byte_level().pre_tokenize(&mut words)?;
    let splits = words.get_splits(OffsetReferential::Original, OffsetType::None);
    let parts = splits.into_iter().flat_map(|(word, ..)| {
        // A character of the alphabet is a byte of the text, and takes one or two.
        if word.len() <= LONGEST_WORD {
            return vec![word.to_owned()];
        }
        let characters: Vec<char> = word.chars().collect();
        let parts = characters.chunks(LONGEST_WORD);
        parts.map(|part| part.iter().collect()).collect()
    });
    Ok(parts.collect())
}

/// Learns the merges from the words that were read, and reports all the while. The trainer can't be
/// stopped: where `progress` asks for it, it is left alone with its thread, which then ends unheard.
fn merge(
    trainer: BpeTrainer,
    read: &ProgressState,
    progress: &dyn Progress,
) -> Result<BPE, Failure> {
    let (done, result) = mpsc::sync_channel(1);
    let work = move || {
        let mut model = BPE::default();
        let trained = trainer.train(&mut model).map(|_| model);
        // The receiver may be gone.
        let _ = done.send(trained);
    };
    thread::Builder::new()
        .spawn(work)
        .map_err(|e| Failure::Trainer(e.into()))?;
    loop {
        match result.recv_timeout(HEARTBEAT) {
            Ok(trained) => return Ok(trained?),
            Err(RecvTimeoutError::Timeout) => {
                if progress.report(read) == ControlFlow::Break(()) {
                    return Err(Failure::Stopped(DataError::Interrupted));
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Trainer("its trainer broke down".into()));
            }
        }
    }
}
