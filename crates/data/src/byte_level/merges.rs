//! The merges of a byte-level BPE, by rank: from the bytes of a word to its tokens.

use std::collections::HashMap;

use serde::Deserialize;
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

use super::alphabet;

/// No pair: its rank is behind all others.
const NONE: u32 = u32::MAX;

/// Room for the merging of one word.
#[derive(Default)]
pub(super) struct Scratch {
    symbols: Vec<u32>,
    /// The rank of each symbol with the next one.
    ranks: Vec<u32>,
}

/// What a model does to a word.
pub(super) struct Merges {
    /// The token of each byte.
    bytes: [u32; 256],
    ranks: Ranks,
    /// The token that a merge makes, by its rank.
    merged: Vec<u32>,
    /// Words that are tokens whatever the merges say, where the model looks for such.
    whole: HashMap<Vec<u8>, u32>,
    /// Bytes of text of each token, by id.
    lengths: Vec<u32>,
}

impl Merges {
    /// Those of a model; none if it doesn't know every byte that a text may have, or has an id twice.
    pub(super) fn of(model: &BPE) -> Option<Self> {
        #[derive(Deserialize)]
        struct File {
            merges: Vec<(String, String)>,
        }
        // The model doesn't show its merges, but writes them in order.
        let json = serde_json::to_string(model).ok()?;
        let file: File = serde_json::from_str(&json).ok()?;
        let vocab = Model::get_vocab(model);
        let mut byte_of = HashMap::new();
        let mut bytes = [0; 256];
        for (byte, (character, id)) in alphabet().into_iter().zip(&mut bytes).enumerate() {
            byte_of.insert(character, byte as u8);
            *id = match vocab.get(character.encode_utf8(&mut [0; 4])) {
                Some(known) => *known,
                None if is_in_text(byte as u8) => return None,
                None => NONE,
            };
        }
        let size = vocab.values().max().map_or(0, |id| *id as usize + 1);
        let mut lengths = vec![0; size];
        let mut whole = HashMap::new();
        for (token, id) in &vocab {
            let length = &mut lengths[*id as usize];
            if *length > 0 {
                return None;
            }
            *length = token.chars().count() as u32;
            let spelled: Option<_> = token.chars().map(|c| byte_of.get(&c).copied()).collect();
            if model.ignore_merges
                && let Some(spelled) = spelled
            {
                whole.insert(spelled, *id);
            }
        }
        let mut ranks = Ranks::with_room(file.merges.len());
        let mut merged = Vec::with_capacity(file.merges.len());
        for (rank, (left, right)) in file.merges.into_iter().enumerate() {
            let pair = [*vocab.get(&left)?, *vocab.get(&right)?];
            ranks.insert(pair, rank as u32);
            merged.push(*vocab.get(&(left + &right))?);
        }
        Some(Self {
            bytes,
            ranks,
            merged,
            whole,
            lengths,
        })
    }

    /// Bytes of text of each token, by id.
    pub(super) fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Appends the tokens of a word. As long as two neighbours are a pair, the pair of the lowest rank becomes one, the
    /// leftmost where there are several. Takes time that grows with the square of the word's length.
    pub(super) fn tokens(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        if let Some(id) = self.whole.get(word) {
            out.push(*id);
            return;
        }
        let Scratch { symbols, ranks } = scratch;
        symbols.clear();
        symbols.extend(word.iter().map(|byte| self.bytes[usize::from(*byte)]));
        ranks.clear();
        let pairs = symbols.windows(2);
        ranks.extend(pairs.map(|pair| self.ranks.get([pair[0], pair[1]])));
        while let Some((place, rank)) = lowest(ranks) {
            symbols[place] = self.merged[rank as usize];
            symbols.remove(place + 1);
            ranks.remove(place);
            if let Some(next) = symbols.get(place + 1) {
                ranks[place] = self.ranks.get([symbols[place], *next]);
            }
            if place > 0 {
                ranks[place - 1] = self.ranks.get([symbols[place - 1], symbols[place]]);
            }
        }
        out.extend_from_slice(symbols);
    }
}

/// Whether UTF-8 has a byte at all. GPT-NeoX's vocabulary has just those. (RFC 3629, section 1.)
fn is_in_text(byte: u8) -> bool {
    !matches!(byte, 0xC0 | 0xC1 | 0xF5..=0xFF)
}

/// Where the lowest rank is first, unless none is one.
fn lowest(ranks: &[u32]) -> Option<(usize, u32)> {
    let lowest = ranks.iter().copied().min().filter(|rank| *rank != NONE)?;
    let place = ranks.iter().position(|rank| *rank == lowest)?;
    Some((place, lowest))
}

/// Ranks by pairs of ids: a table with open addressing, at most half full.
struct Ranks {
    entries: Vec<(u64, u32)>,
    shift: u32,
}

/// The key of an empty entry, whose ids no vocabulary has.
const EMPTY: u64 = u64::MAX;

/// 2^64 divided by the golden ratio: multiples of it are spread evenly (Knuth, The Art of Computer Programming 3, 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Ranks {
    fn with_room(pairs: usize) -> Self {
        let size = (2 * pairs).next_power_of_two().max(2);
        Self {
            entries: vec![(EMPTY, NONE); size],
            shift: 64 - size.trailing_zeros(),
        }
    }

    fn key([left, right]: [u32; 2]) -> u64 {
        u64::from(left) << 32 | u64::from(right)
    }

    /// Where a pair is, or the empty entry for it.
    fn place(&self, key: u64) -> usize {
        let mut place = (key.wrapping_mul(SPREAD) >> self.shift) as usize;
        while self.entries[place].0 != key && self.entries[place].0 != EMPTY {
            place = (place + 1) % self.entries.len();
        }
        place
    }

    fn insert(&mut self, pair: [u32; 2], rank: u32) {
        let key = Self::key(pair);
        let place = self.place(key);
        self.entries[place] = (key, rank);
    }

    /// The rank of a pair, or [`NONE`].
    fn get(&self, pair: [u32; 2]) -> u32 {
        self.entries[self.place(Self::key(pair))].1
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use tokenizers::ModelWrapper;

    use super::*;
    use crate::Tokenizer;

    /// A model with long merges, learned from words of few letters.
    fn model() -> BPE {
        let texts = (0..200u64).map(|seed| {
            let letters = (0..400).scan(seed, |state, _| {
                *state = state.wrapping_mul(SPREAD).wrapping_add(1);
                Some(char::from(b"aabc "[(*state >> 60) as usize % 5]))
            });
            Ok(letters.collect())
        });
        let trained = Tokenizer::train(texts, 1500, "<|endoftext|>").unwrap();
        match trained.inner().get_model() {
            ModelWrapper::BPE(model) => model.clone(),
            _ => unreachable!("it is trained as one"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn words_have_the_models_tokens(
            words in proptest::collection::vec("[abc]{1,200}|[ -~é東]{1,20}", 1..20),
        ) {
            thread_local!(static MODEL: BPE = model());
            MODEL.with(|model| -> Result<(), TestCaseError> {
                for whole in [false, true] {
                    let mut model = model.clone();
                    model.ignore_merges = whole;
                    let merges = Merges::of(&model).unwrap();
                    for word in &words {
                        let mut found = Vec::new();
                        merges.tokens(word.as_bytes(), &mut Scratch::default(), &mut found);
                        let spelled: String = word.bytes().map(|b| alphabet()[usize::from(b)]).collect();
                        let tokens = model.tokenize(&spelled).unwrap();
                        let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
                        prop_assert_eq!(&found, &ids, "{:?}", word);
                        let lengths = found.iter().map(|id| merges.lengths()[*id as usize]);
                        prop_assert_eq!(lengths.sum::<u32>() as usize, word.len());
                    }
                }
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_model_that_lacks_a_byte_has_none() {
        let vocab = [("a".to_owned(), 0), ("b".to_owned(), 1)];
        let model = BPE::builder().vocab_and_merges(vocab, Vec::new());
        assert!(Merges::of(&model.build().unwrap()).is_none());
    }
}
