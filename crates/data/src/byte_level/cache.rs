//! The tokens of the words that came lately.

use std::collections::HashMap;

/// Bytes of the longest word that is kept in an entry.
const SHORT: usize = 15;

/// Tokens of a word that is kept in an entry.
const TOKENS: usize = 4;

/// Entries for short words, 1 MiB of them: in prose of 100 MB all but 2 to 3 of 100 words are found.
const ENTRIES: usize = 1 << 15;

/// Longer words that are kept, a few MB.
const LONG_WORDS: usize = 1 << 14;

/// Bytes of the longest word that is kept.
const LONGEST: usize = 128;

/// Fills the places of tokens that an entry doesn't have. No vocabulary has such an id.
const NONE: u32 = u32::MAX;

/// A short word and its tokens. Words take each other's place.
#[derive(Clone, Copy)]
struct Entry {
    /// Its bytes, and their number in the highest; 0 for none.
    key: u128,
    tokens: [u32; TOKENS],
}

/// Words with their tokens. What is in it never changes what is found, and its size is bounded.
pub(super) struct WordCache {
    short: Vec<Entry>,
    long: HashMap<Box<[u8]>, Box<[u32]>>,
}

impl Default for WordCache {
    fn default() -> Self {
        let empty = Entry {
            key: 0,
            tokens: [NONE; TOKENS],
        };
        Self {
            short: vec![empty; ENTRIES],
            long: HashMap::new(),
        }
    }
}

impl WordCache {
    /// Appends the tokens of the word between two places of a text, which `make` appends where they aren't known.
    #[inline]
    pub(super) fn tokens<E>(
        &mut self,
        text: &[u8],
        (start, end): (usize, usize),
        out: &mut Vec<u32>,
        make: impl FnOnce(&mut Vec<u32>) -> Result<(), E>,
    ) -> Result<(), E> {
        if end - start > SHORT {
            return self.long(&text[start..end], out, make);
        }
        let key = key(text, start, end);
        let entry = &mut self.short[place(key)];
        if entry.key == key {
            // All four are copied, as that is faster than to copy as many as there are.
            out.extend_from_slice(&entry.tokens);
            let unused = entry.tokens.iter().filter(|id| **id == NONE).count();
            out.truncate(out.len() - unused);
            return Ok(());
        }
        let before = out.len();
        make(out)?;
        let made = &out[before..];
        if made.len() <= TOKENS {
            let mut tokens = [NONE; TOKENS];
            tokens[..made.len()].copy_from_slice(made);
            *entry = Entry { key, tokens };
        }
        Ok(())
    }

    #[cold]
    fn long<E>(
        &mut self,
        word: &[u8],
        out: &mut Vec<u32>,
        make: impl FnOnce(&mut Vec<u32>) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(tokens) = self.long.get(word) {
            out.extend_from_slice(tokens);
            return Ok(());
        }
        let before = out.len();
        make(out)?;
        if word.len() <= LONGEST {
            if self.long.len() == LONG_WORDS {
                self.long.clear();
            }
            self.long.insert(word.into(), out[before..].into());
        }
        Ok(())
    }
}

/// The bytes of a word of at most [`SHORT`], and their number in the highest.
#[inline]
fn key(text: &[u8], start: usize, end: usize) -> u128 {
    let length = end - start;
    let bytes = if let Some(chunk) = text[start..].first_chunk() {
        // What comes after the word is in the chunk too.
        u128::from_le_bytes(*chunk) & ((1 << (8 * length)) - 1)
    } else {
        let mut chunk = [0; 16];
        chunk[..length].copy_from_slice(&text[start..end]);
        u128::from_le_bytes(chunk)
    };
    bytes | (length as u128) << (8 * SHORT)
}

/// The entry of a word: the halves of its key multiplied, and the halves of the product mixed.
#[inline]
fn place(key: u128) -> usize {
    // Digits of pi, as any odd numbers without a pattern would do.
    let low = key as u64 ^ 0x243F_6A88_85A3_08D3;
    let high = (key >> 64) as u64 ^ 0x1319_8A2E_0370_7345;
    let product = u128::from(low) * u128::from(high);
    ((product >> 64) as u64 ^ product as u64) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::cell::Cell;

    use super::*;

    /// What each word becomes here: its bytes, and how many these are.
    fn tokens_of(word: &[u8]) -> Vec<u32> {
        let bytes = word.iter().map(|byte| u32::from(*byte));
        bytes.chain([word.len() as u32]).collect()
    }

    #[test]
    fn every_word_has_its_own_tokens() {
        let mut cache = WordCache::default();
        let made = Cell::new(0);
        let text: Vec<u8> = (0..3000u32).flat_map(|i| (i * i).to_le_bytes()).collect();
        for _ in 0..2 {
            for length in [1, 2, 3, 14, 15, 16, 40, 200] {
                for start in (0..text.len() - length).step_by(7) {
                    let word = &text[start..start + length];
                    let mut out = vec![7];
                    cache
                        .tokens(&text, (start, start + length), &mut out, |out| {
                            made.set(made.get() + 1);
                            out.extend(tokens_of(word));
                            Ok::<(), ()>(())
                        })
                        .unwrap();
                    assert_eq!(out[1..], tokens_of(word));
                }
            }
        }
        // Those of up to three bytes were there the second time.
        assert!(made.get() > 0);
    }

    #[test]
    fn words_are_found_again_and_failures_are_not_kept() {
        let mut cache = WordCache::default();
        for word in ["a", "\0", "\0\0", "of", "longer than an entry"] {
            let mut out = Vec::new();
            let range = (0, word.len());
            assert_eq!(
                cache.tokens(word.as_bytes(), range, &mut out, |_| Err(3)),
                Err(3)
            );
            let keep = |out: &mut Vec<u32>| {
                out.push(word.len() as u32);
                Ok::<(), i32>(())
            };
            cache
                .tokens(word.as_bytes(), range, &mut out, keep)
                .unwrap();
            cache
                .tokens(word.as_bytes(), range, &mut out, |_| Err(4))
                .unwrap();
            assert_eq!(out, [word.len() as u32; 2]);
        }
    }

    #[test]
    fn its_size_is_bounded() {
        let mut cache = WordCache::default();
        for number in 0..3 * LONG_WORDS {
            let word = format!("{number:040}");
            let range = (0, word.len());
            let make = |out: &mut Vec<u32>| {
                out.push(1);
                Ok::<(), ()>(())
            };
            cache
                .tokens(word.as_bytes(), range, &mut Vec::new(), make)
                .unwrap();
        }
        assert!(cache.long.len() <= LONG_WORDS);
        assert_eq!(cache.short.len(), ENTRIES);
    }
}
