//! The words of a text, cut as the known regular expressions cut it, without them.

use super::characters::{Characters, LETTER, LOWER, MARK, NUMBER, SPACE, UPPER};
use crate::parts;

/// One of [`parts::WORDS`], written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// GPT-2's.
    Gpt2,
    /// GPT-4's, Llama 3's, OLMo 2's and Qwen 2's, with so many digits to a word.
    Gpt4 { digits: usize },
    /// GPT-4o's, whose words end where a capital letter follows a small one, and Mistral's, whose words don't end in `'s`
    /// and its like.
    Gpt4o { digits: usize, suffixes: bool },
}

impl Words {
    /// The words of each of [`parts::WORDS`].
    const ALL: [Self; parts::WORDS.len()] = [
        Self::Gpt2,
        Self::Gpt4 { digits: 3 },
        Self::Gpt4 { digits: 1 },
        Self::Gpt4o {
            digits: 3,
            suffixes: true,
        },
        Self::Gpt4o {
            digits: 1,
            suffixes: false,
        },
    ];

    /// The words that a regular expression makes, if it is a known one.
    pub(super) fn of(regex: &str) -> Option<Self> {
        let known = parts::WORDS.iter().position(|known| *known == regex)?;
        Some(Self::ALL[known])
    }

    /// The end of the word that begins at a place before the end of the text.
    #[inline]
    pub(super) fn end(self, characters: &Characters, text: &str, at: usize) -> usize {
        let cutter = Cutter { characters, text };
        match self {
            Self::Gpt2 => cutter.gpt2(at),
            Self::Gpt4 { digits } => cutter.gpt4(at, digits),
            Self::Gpt4o { digits, suffixes } => cutter.gpt4o(at, digits, suffixes),
        }
    }
}

/// A text that is cut. Each function is given where a word may begin and says where it ends.
#[derive(Clone, Copy)]
struct Cutter<'a> {
    characters: &'a Characters,
    text: &'a str,
}

impl Cutter<'_> {
    fn at(self, at: usize) -> (u8, usize) {
        self.characters.at(self.text, at)
    }

    fn run(self, at: usize, classes: u8) -> usize {
        self.characters.run(self.text, at, classes)
    }

    fn byte(self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    #[inline]
    fn gpt2(self, at: usize) -> usize {
        let byte = self.byte(at);
        if byte == Some(b'\'')
            && let Some(end) = self.suffix(at)
        {
            return end;
        }
        let start = at + usize::from(byte == Some(b' '));
        let (class, _) = self.at(start);
        match class & (LETTER | NUMBER | MARK) {
            0 => self.spaces(at),
            class => self.run(start, class),
        }
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    fn gpt4(self, at: usize, digits: usize) -> usize {
        if let Some(end) = self.suffix_in_any_case(at) {
            return end;
        }
        let (class, length) = self.at(at);
        if class & LETTER != 0 {
            return self.run(at, LETTER);
        }
        let after = at + length;
        if self.leads(at) && self.at(after).0 & LETTER != 0 {
            return self.run(after, LETTER);
        }
        self.others(at, digits, b"\r\n")
    }

    /// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?`, else
    /// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?`, else
    /// `\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    fn gpt4o(self, at: usize, digits: usize, suffixes: bool) -> usize {
        let led = self.leads(at).then(|| at + self.at(at).1);
        let starts = || led.into_iter().chain([at]);
        let lower = starts().find_map(|start| self.ending_in_lower(start));
        let word = lower.or_else(|| starts().find_map(|start| self.beginning_in_upper(start)));
        match word {
            Some(end) if suffixes => self.suffix_in_any_case(end).unwrap_or(end),
            Some(end) => end,
            None => self.others(at, digits, b"\r\n/"),
        }
    }

    /// `[^\r\n\p{L}\p{N}]`, which may lead a word
    fn leads(self, at: usize) -> bool {
        let (class, _) = self.at(at);
        class & (LETTER | NUMBER) == 0 && !matches!(self.byte(at), Some(b'\r' | b'\n'))
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
    fn ending_in_lower(self, at: usize) -> Option<usize> {
        let upper = self.run(at, UPPER);
        let end = self.run(upper, LOWER);
        if end > upper {
            return Some(end);
        }
        // The first part gives back what the second needs: the last character that is in both.
        let given_back = self.text[at..upper].char_indices();
        given_back
            .rev()
            .find(|(_, character)| self.characters.of(*character) & LOWER != 0)
            .map(|(place, character)| at + place + character.len_utf8())
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
    fn beginning_in_upper(self, at: usize) -> Option<usize> {
        let upper = self.run(at, UPPER);
        (upper > at).then(|| self.run(upper, LOWER))
    }

    /// `\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[tail]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    fn others(self, at: usize, digits: usize, tail: &[u8]) -> usize {
        let (class, _) = self.at(at);
        if class & NUMBER != 0 {
            let mut end = at;
            for _ in 0..digits {
                let (class, length) = self.at(end);
                if class & NUMBER == 0 {
                    break;
                }
                end += length;
            }
            return end;
        }
        let start = at + usize::from(self.byte(at) == Some(b' '));
        if self.at(start).0 & MARK != 0 {
            let mut end = self.run(start, MARK);
            while self.byte(end).is_some_and(|byte| tail.contains(&byte)) {
                end += 1;
            }
            return end;
        }
        let spaces = &self.text[at..self.run(at, SPACE)];
        match spaces.rfind(['\r', '\n']) {
            Some(place) => at + place + 1,
            None => self.spaces(at),
        }
    }

    /// `\s+(?!\S)|\s+`: white space up to the end of the text, or but for the last of it.
    fn spaces(self, at: usize) -> usize {
        let end = self.run(at, SPACE);
        if end == self.text.len() {
            return end;
        }
        let last = self.text[at..end].char_indices().next_back();
        match last {
            Some((place, _)) if place > 0 => at + place,
            _ => end,
        }
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d`, with the apostrophe at `at`
    fn suffix(self, at: usize) -> Option<usize> {
        match self.text.as_bytes()[at + 1..] {
            [b's' | b't' | b'm' | b'd', ..] => Some(at + 2),
            [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => Some(at + 3),
            _ => None,
        }
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
    fn suffix_in_any_case(self, at: usize) -> Option<usize> {
        let rest = self.text.as_bytes()[at..].strip_prefix(b"'")?;
        match rest {
            [b's' | b'S' | b't' | b'T' | b'm' | b'M' | b'd' | b'D', ..] => Some(at + 2),
            [b'r' | b'R' | b'v' | b'V', b'e' | b'E', ..] | [b'l' | b'L', b'l' | b'L', ..] => {
                Some(at + 3)
            }
            // The long s is another case of s.
            _ if rest.starts_with("ſ".as_bytes()) => Some(at + 1 + 'ſ'.len_utf8()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::LazyLock;

    use proptest::prelude::*;
    use tokenizers::utils::SysRegex;

    use super::*;
    use crate::byte_level::texts;

    /// What the regular expression itself matches.
    fn matches(regex: &SysRegex, text: &str) -> Vec<usize> {
        let mut end = 0;
        let ends = regex.find_iter(text).map(|(start, stop)| {
            assert_eq!(start, end, "every character is matched");
            end = stop;
            stop
        });
        ends.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_words_are_the_matches(text in texts::random()) {
            static REGEXES: LazyLock<Vec<SysRegex>> = LazyLock::new(|| {
                let compiled = parts::WORDS.into_iter().map(SysRegex::new);
                compiled.collect::<Result<_, _>>().unwrap()
            });
            let characters = Characters::get().unwrap();
            for (regex, words) in REGEXES.iter().zip(Words::ALL) {
                let mut ends = Vec::new();
                while ends.last().copied().unwrap_or(0) < text.len() {
                    let at = ends.last().copied().unwrap_or(0);
                    ends.push(words.end(characters, &text, at));
                }
                prop_assert_eq!(&ends, &matches(regex, &text), "{:?} in {:?}", words, text);
            }
        }
    }

    #[test]
    fn regular_expressions_are_known_by_their_text() {
        assert_eq!(Words::of(r"\w+"), None);
        for (regex, words) in parts::WORDS.into_iter().zip(Words::ALL) {
            assert_eq!(Words::of(regex), Some(words));
        }
    }
}
