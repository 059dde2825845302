//! A fast way through byte-level BPE, for the tokenizers that are nothing else.
//!
//! What the `tokenizers` crate does with objects for every word and offsets for every byte is done on the bytes of the text:
//! [`words`] cuts as the regular expression would, [`cache`] knows the tokens of words that came before, [`merges`] makes
//! those of the others. The ids are the crate's own for every text: what isn't certain to be the same here isn't done here.
//! Whether a tokenizer is taken is read off its parts ([`ByteLevelBpe::of`]); a text that normalization would change, a word
//! of hundreds of bytes, and one that would become a reserved token go the crate's way.

mod added;
mod cache;
mod characters;
mod merges;
#[cfg(test)]
pub(crate) mod texts;
mod words;

use std::sync::{Mutex, PoisonError};

use tokenizers::pre_tokenizers::split::SplitPattern;
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::parts;
use added::{Added, Part};
use cache::WordCache;
use characters::Characters;
use merges::{Merges, Scratch};
use words::Words;

/// Bytes of the longest word that is merged here, in time that grows with its square.
const LONGEST: usize = 512;

/// A byte-level BPE with words by a known regular expression.
pub(crate) struct ByteLevelBpe {
    characters: &'static Characters,
    /// Whether texts are brought into normalization form C.
    composes: bool,
    /// Searched for before normalization.
    added: Added,
    /// Searched for after it.
    added_normalized: Added,
    words: Words,
    merges: Merges,
    /// Ids that no text becomes.
    reserved: Vec<u32>,
    /// Bytes of text of each token, by id.
    lengths: Vec<u32>,
    /// What nobody uses at the moment: each thread takes one.
    memories: Mutex<Vec<Memory>>,
}

/// What one thread encodes with.
#[derive(Default)]
struct Memory {
    cache: WordCache,
    scratch: Scratch,
}

impl ByteLevelBpe {
    /// The fast way of a tokenizer, if all of its parts are known here: no normalizer but form C; GPT-2's words and the like
    /// with no space put in front; added tokens that are their own characters and nothing around them; merges of all
    /// bytes of UTF-8 without affixes or dropout. `reserved` are the ids that no text becomes.
    pub(crate) fn of(tokenizer: &Tokenizer, reserved: Vec<u32>) -> Option<Self> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else {
            return None;
        };
        if parts::has_affixes(model) || model.dropout.is_some_and(|share| share > 0.0) {
            return None;
        }
        let composes = match parts::normalizers(tokenizer)[..] {
            [] => false,
            [NormalizerWrapper::NFC(_)] => true,
            _ => return None,
        };
        let words = words(&parts::pre_tokenizers(tokenizer))?;
        let characters = Characters::get()?;
        let composed = |text: &str| !composes || characters.is_composed(text);
        let [added, added_normalized] = Added::of(tokenizer, composed)?;
        let merges = Merges::of(model)?;
        let mut lengths = merges.lengths().to_vec();
        for (id, token) in tokenizer.get_added_tokens_decoder() {
            let id = id as usize;
            lengths.resize(lengths.len().max(id + 1), 0);
            let bytes = token.content.len() as u32;
            // One that the model has too may stand for fewer bytes there.
            if lengths[id] != 0 && lengths[id] != bytes && !token.special {
                return None;
            }
            if lengths[id] == 0 {
                lengths[id] = bytes;
            }
        }
        Some(Self {
            characters,
            composes,
            added,
            added_normalized,
            words,
            merges,
            reserved,
            lengths,
            memories: Mutex::default(),
        })
    }

    /// Whether a text is encoded here: one that normalization doesn't change.
    pub(crate) fn takes(&self, text: &str) -> bool {
        !self.composes || self.characters.is_composed(text)
    }

    /// Appends the ids of a text that is taken. `otherwise` has the tokens of a word, spelled in the byte-level alphabet.
    ///
    /// # Errors
    /// Those of `otherwise`.
    pub(crate) fn encode<E>(
        &self,
        text: &str,
        out: &mut Vec<u32>,
        otherwise: impl Fn(&str) -> Result<Vec<u32>, E>,
    ) -> Result<(), E> {
        let mut memory = self.memories().pop().unwrap_or_default();
        let done = self.added.split(text, |part| match part {
            Part::Token(id) => {
                out.push(id);
                Ok(())
            }
            Part::Text(text) => self.added_normalized.split(text, |part| match part {
                Part::Token(id) => {
                    out.push(id);
                    Ok(())
                }
                Part::Text(text) => self.encode_words(text, &mut memory, out, &otherwise),
            }),
        });
        self.memories().push(memory);
        done
    }

    /// Where in a text each of its tokens ends. The tokens of one character end with it.
    pub(crate) fn ends<'a>(
        &'a self,
        text: &'a str,
        ids: &'a [u32],
    ) -> impl Iterator<Item = usize> + 'a {
        let lengths = ids.iter().map(|id| self.lengths[*id as usize] as usize);
        let ends = lengths.scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        ends.map(|end| text.ceil_char_boundary(end))
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, Vec<Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the ids of a text without added tokens.
    fn encode_words<E>(
        &self,
        text: &str,
        memory: &mut Memory,
        out: &mut Vec<u32>,
        otherwise: &impl Fn(&str) -> Result<Vec<u32>, E>,
    ) -> Result<(), E> {
        let Memory { cache, scratch } = memory;
        let mut start = 0;
        while start < text.len() {
            let end = self.words.end(self.characters, text, start);
            let word = (start, end);
            cache.tokens(text.as_bytes(), word, out, |out| {
                self.encode_word(&text.as_bytes()[start..end], scratch, out, otherwise)
            })?;
            start = end;
        }
        Ok(())
    }

    #[cold]
    fn encode_word<E>(
        &self,
        word: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u32>,
        otherwise: &impl Fn(&str) -> Result<Vec<u32>, E>,
    ) -> Result<(), E> {
        let before = out.len();
        let is_long = word.len() > LONGEST;
        if !is_long {
            self.merges.tokens(word, scratch, out);
        }
        if is_long || out[before..].iter().any(|id| self.reserved.contains(id)) {
            out.truncate(before);
            let alphabet = alphabet();
            let spelled = word.iter().map(|byte| alphabet[usize::from(*byte)]);
            out.extend(otherwise(&spelled.collect::<String>())?);
        }
        Ok(())
    }
}

/// The words that a tokenizer's pre-tokenizers make, if they are known ones, of the byte-level alphabet.
fn words(pre_tokenizers: &[&PreTokenizerWrapper]) -> Option<Words> {
    use PreTokenizerWrapper as P;
    match pre_tokenizers {
        [P::ByteLevel(bytes)] if bytes.use_regex && !bytes.add_prefix_space => {
            Words::of(parts::WORDS[0])
        }
        [P::Split(split), P::ByteLevel(bytes)]
            if parts::is_words(split) && !bytes.use_regex && !bytes.add_prefix_space =>
        {
            match &split.pattern {
                SplitPattern::Regex(regex) => Words::of(regex),
                SplitPattern::String(_) => None,
            }
        }
        _ => None,
    }
}

/// The character that stands for each byte: itself where it can be seen, or else one of those after the first 256.
/// (`bytes_to_unicode` in GPT-2's encoder.py.)
fn alphabet() -> [char; 256] {
    let mut alphabet = ['\0'; 256];
    let mut next = 256;
    for (byte, character) in (0..=u8::MAX).zip(&mut alphabet) {
        *character = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or_default()
            }
        };
    }
    alphabet
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_alphabet_is_the_crates() {
        let ours: HashSet<char> = super::alphabet().into_iter().collect();
        let theirs: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
        assert_eq!(ours, theirs);
        assert_eq!(super::alphabet()[usize::from(b' ')], 'Ġ');
        assert_eq!(super::alphabet()[usize::from(b'\n')], 'Ċ');
    }
}
