//! Windows: runs of consecutive documents of a shard, whose tokens samples are cut from.
//!
//! With context `T`, `n` packed tokens have `(n - 1) / T` samples (rounded down): sample `i` is the tokens from `i T` to
//! `(i + 1) T`, both included, so that every token but the first is predicted at most once. Documents follow each other,
//! each ended by the end-of-document token; no sample crosses a window.

use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::Arc;

use crate::batch::{Boundaries, Sample};
use crate::megatron::TokenType;
use crate::token_bytes::Tokens;
use crate::{DataError, Tokenizer};

/// The documents of a window that belong to one split, packed.
pub(crate) trait PackedText: Debug + Send + Sync {
    /// Tokens, end-of-document tokens included.
    fn tokens(&self) -> u64;

    /// `count` tokens from token `start` on, which must lie within the text.
    fn read(&self, start: u64, count: usize) -> Result<Vec<u32>, DataError>;

    /// The bytes of text of `tokens`, which are those from token `start` on; none if they aren't known.
    fn bytes(&self, start: u64, tokens: &[u32]) -> Result<Option<Vec<u32>>, DataError>;

    /// Checks that all of it is as it was written.
    fn verify(&self) -> Result<(), DataError> {
        Ok(())
    }
}

/// Samples of `tokens` packed tokens with context `T`. At most 2^32 - 1: the rest, which no permutation of 32-bit numbers
/// reaches, is left out.
pub(crate) fn samples_in(tokens: u64, context: usize) -> u64 {
    let samples = tokens.saturating_sub(1).checked_div(context as u64);
    samples.unwrap_or(0).min(u64::from(u32::MAX))
}

/// Sample `index` of a text, which must have it.
pub(crate) fn sample(
    text: &dyn PackedText,
    index: u64,
    context: usize,
) -> Result<Sample, DataError> {
    let start = index * context as u64;
    let tokens = text.read(start, context + 1)?;
    let bytes = text.bytes(start, &tokens)?;
    Ok(Sample { tokens, bytes })
}

/// The place of a window in the order of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    /// Position in the epoch's order of shards.
    pub(crate) position: usize,
    /// Window of that shard.
    pub(crate) window: usize,
}

impl Place {
    /// The place behind all windows of the shard at this one, of `shards`.
    pub(crate) fn next_shard(self, shards: usize) -> Self {
        let wraps = self.position + 1 >= shards;
        Self {
            epoch: self.epoch + u64::from(wraps),
            position: if wraps { 0 } else { self.position + 1 },
            window: 0,
        }
    }

    /// The place behind this window of a shard, of `shards`.
    pub(crate) fn behind(self, is_last: bool, shards: usize) -> Self {
        if is_last {
            return self.next_shard(shards);
        }
        Self {
            window: self.window + 1,
            ..self
        }
    }
}

/// A window of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// Its training documents.
    pub(crate) text: Arc<dyn PackedText>,
    /// Whether no other window of its shard follows.
    pub(crate) is_last: bool,
}

/// What went over the network in this process, to read the text that is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkTraffic {
    /// Bytes of files and listings that came.
    pub bytes: u64,
    /// Failures that were met with another attempt.
    pub retries: u64,
}

/// Where a stream gets its windows from.
pub(crate) trait Windows: Debug + Send {
    /// Number of shards, those without a training document included.
    fn shards(&self) -> usize;

    /// The tokens between which a document lies.
    fn boundaries(&self) -> Boundaries;

    /// The window at a place, where shard number `shard` stands; nothing behind the shard's last one.
    fn window(&mut self, place: Place, shard: usize) -> Result<Option<Window>, DataError>;

    /// What went over the network so far, where something does.
    fn traffic(&self) -> Option<NetworkTraffic> {
        None
    }

    /// What the user should know that has come to light since the last call, in sentences.
    fn news(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Packed documents in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryText {
    token_type: TokenType,
    /// The tokens, as their type stores them.
    ids: Vec<u8>,
    /// Bytes of text of each token, where no table knows them.
    bytes: Option<Vec<u32>>,
    /// Bytes of text by id.
    table: Option<Arc<[u32]>>,
}

impl MemoryText {
    /// No documents, for a tokenizer's tokens.
    pub(crate) fn new(tokenizer: &Tokenizer) -> Self {
        let table = tokenizer.token_bytes();
        Self {
            token_type: TokenType::for_vocab(tokenizer.vocab_size()),
            ids: Vec::new(),
            bytes: table.is_none().then(Vec::new),
            table,
        }
    }

    /// Appends a document, end-of-document token included.
    pub(crate) fn push(&mut self, tokens: &Tokens) {
        for id in &tokens.ids {
            self.token_type.push(*id, &mut self.ids);
        }
        if let (Some(all), Some(bytes)) = (&mut self.bytes, &tokens.bytes) {
            all.extend(bytes);
        }
    }

    /// Bytes that [`store`](Self::store) writes.
    pub(crate) fn stored_bytes(&self) -> u64 {
        (self.ids.len() + 4 * self.bytes.as_ref().map_or(0, Vec::len)) as u64
    }

    /// Writes the tokens as their type stores them, then four bytes for each token whose bytes of text no table knows.
    pub(crate) fn store(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.ids)?;
        let mut counts = self.bytes.iter().flatten();
        counts.try_for_each(|count| out.write_all(&count.to_le_bytes()))
    }

    /// What [`store`](Self::store) wrote of so many tokens of a tokenizer; nothing if it can't have.
    pub(crate) fn from_stored(
        mut stored: Vec<u8>,
        tokens: u64,
        tokenizer: &Tokenizer,
    ) -> Option<Self> {
        let mut text = Self::new(tokenizer);
        let tokens = usize::try_from(tokens).ok()?;
        let ids = tokens.checked_mul(text.token_type.width())?;
        let counts = if text.bytes.is_some() { 4 * tokens } else { 0 };
        if stored.len() != ids.checked_add(counts)? {
            return None;
        }
        let counts = stored.split_off(ids);
        if let Some(bytes) = &mut text.bytes {
            *bytes = TokenType::Int32.decode(&counts);
        }
        text.ids = stored;
        let vocab = tokenizer.vocab_size();
        let known = |ids: &[u8]| {
            let mut ids = text.token_type.decode(ids).into_iter();
            ids.all(|id| (id as usize) < vocab)
        };
        // In parts, so that they are not all in memory twice.
        text.ids.chunks(1 << 16).all(known).then_some(text)
    }
}

impl PackedText for MemoryText {
    fn tokens(&self) -> u64 {
        (self.ids.len() / self.token_type.width()) as u64
    }

    fn read(&self, start: u64, count: usize) -> Result<Vec<u32>, DataError> {
        let width = self.token_type.width();
        let start = start as usize * width;
        Ok(self
            .token_type
            .decode(&self.ids[start..start + count * width]))
    }

    fn bytes(&self, start: u64, tokens: &[u32]) -> Result<Option<Vec<u32>>, DataError> {
        if let Some(bytes) = &self.bytes {
            let start = start as usize;
            return Ok(Some(bytes[start..start + tokens.len()].to_vec()));
        }
        let table = self.table.as_ref();
        Ok(table.map(|table| tokens.iter().map(|id| table[*id as usize]).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn tokenizer() -> Tokenizer {
        let texts = ["some words of text"].map(|text| Ok(text.to_owned()));
        Tokenizer::train(texts.into_iter(), 260, "<|endoftext|>").unwrap()
    }

    #[test]
    fn a_stored_text_is_read_back_or_refused() {
        let tokenizer = tokenizer();
        let mut text = MemoryText::new(&tokenizer);
        text.push(&Tokens::plain(vec![5, 6, 7, 0]));
        text.push(&Tokens::plain(vec![8, 0]));
        assert_eq!(text.tokens(), 6);
        assert_eq!(text.read(2, 3).unwrap(), [7, 0, 8]);
        let mut stored = Vec::new();
        text.store(&mut stored).unwrap();
        assert_eq!(stored.len() as u64, text.stored_bytes());
        let back =
            |stored: &[u8], tokens| MemoryText::from_stored(stored.to_vec(), tokens, &tokenizer);
        assert_eq!(back(&stored, 6), Some(text));
        assert_eq!(back(&stored, 5), None);
        assert_eq!(back(&stored[1..], 6), None);
        // An id outside of the vocabulary.
        assert_eq!(back(&[0xff, 0xff], 1), None);
    }

    #[test]
    fn places_follow_each_other_over_windows_shards_and_epochs() {
        let mut place = Place {
            epoch: 3,
            position: 0,
            window: 0,
        };
        let mut seen = Vec::new();
        for is_last in [false, true, true, false, true] {
            seen.push((place.epoch, place.position, place.window));
            place = place.behind(is_last, 2);
        }
        assert_eq!(
            seen,
            [(3, 0, 0), (3, 0, 1), (3, 1, 0), (4, 0, 0), (4, 0, 1)]
        );
    }
}
