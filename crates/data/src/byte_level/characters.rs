//! What a character is to the regular expressions that cut text into words, by table.
//!
//! The tables are filled by regular expressions of the same library, a page of 256 characters when a text first has one of
//! them, and by the library that normalizes: there is no second copy of Unicode, of some other version than theirs.

use std::sync::{LazyLock, OnceLock};

use tokenizers::utils::SysRegex;
use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{IsNormalized, is_nfc, is_nfc_quick};

/// `\p{L}`. A character is one of this and the next three.
pub(super) const LETTER: u8 = 1;
/// `\p{N}`.
pub(super) const NUMBER: u8 = 1 << 1;
/// `\s`.
pub(super) const SPACE: u8 = 1 << 2;
/// `[^\s\p{L}\p{N}]`.
pub(super) const MARK: u8 = 1 << 3;
/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`.
pub(super) const UPPER: u8 = 1 << 4;
/// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`.
pub(super) const LOWER: u8 = 1 << 5;
/// Text of such characters alone is in Unicode's normalization form C: it is a starter, and its `NFC_Quick_Check` says yes.
const COMPOSED: u8 = 1 << 6;

/// Bytes that are looked at together for whether they are ASCII.
const BLOCK: usize = 32;

/// The classes that regular expressions say.
const CLASSES: [(u8, &str); 5] = [
    (LETTER, r"\p{L}+"),
    (NUMBER, r"\p{N}+"),
    (SPACE, r"\s+"),
    (UPPER, r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"),
    (LOWER, r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"),
];

type Page = [u8; 256];

/// The classes of all characters.
pub(super) struct Characters {
    regexes: Vec<(u8, SysRegex)>,
    /// By byte; 0 for those that no ASCII character is.
    ascii: Page,
    pages: Vec<OnceLock<Box<Page>>>,
}

impl Characters {
    /// The one table; none where the library doesn't know the regular expressions.
    pub(super) fn get() -> Option<&'static Self> {
        static TABLE: LazyLock<Option<Characters>> = LazyLock::new(Characters::new);
        TABLE.as_ref()
    }

    fn new() -> Option<Self> {
        let compiled = CLASSES
            .iter()
            .map(|(class, regex)| Some((*class, SysRegex::new(regex).ok()?)));
        let mut characters = Self {
            regexes: compiled.collect::<Option<_>>()?,
            ascii: [0; 256],
            pages: (0..=u32::from(char::MAX) >> 8)
                .map(|_| OnceLock::new())
                .collect(),
        };
        let first = characters.classify(0);
        characters.ascii[..128].copy_from_slice(&first[..128]);
        Some(characters)
    }

    /// The classes of a page.
    fn classify(&self, page: u32) -> Box<Page> {
        let all: String = (page << 8..(page + 1) << 8)
            .filter_map(char::from_u32)
            .collect();
        let mut classes = Box::new([0; 256]);
        for (class, regex) in &self.regexes {
            for (start, end) in regex.find_iter(&all) {
                for character in all[start..end].chars() {
                    classes[character as usize & 0xFF] |= class;
                }
            }
        }
        for character in all.chars() {
            let class = &mut classes[character as usize & 0xFF];
            if *class & (LETTER | NUMBER | SPACE) == 0 {
                *class |= MARK;
            }
            let quick = is_nfc_quick(std::iter::once(character));
            if quick == IsNormalized::Yes && canonical_combining_class(character) == 0 {
                *class |= COMPOSED;
            }
        }
        classes
    }

    /// The classes of a character, as bits.
    pub(super) fn of(&self, character: char) -> u8 {
        let code = u32::from(character);
        let page = self.pages[code as usize >> 8].get_or_init(|| self.classify(code >> 8));
        page[code as usize & 0xFF]
    }

    /// The classes of the character at a place in a text, and its bytes; neither at the end.
    #[inline]
    pub(super) fn at(&self, text: &str, at: usize) -> (u8, usize) {
        match text.as_bytes().get(at) {
            None => (0, 0),
            Some(byte) if byte.is_ascii() => (self.ascii[usize::from(*byte)], 1),
            Some(_) => self.beyond_ascii(text, at),
        }
    }

    #[cold]
    fn beyond_ascii(&self, text: &str, at: usize) -> (u8, usize) {
        let character = text[at..].chars().next();
        character.map_or((0, 0), |c| (self.of(c), c.len_utf8()))
    }

    /// Where the characters of some classes end that begin at a place.
    #[inline]
    pub(super) fn run(&self, text: &str, mut at: usize, classes: u8) -> usize {
        let bytes = text.as_bytes();
        loop {
            while bytes
                .get(at)
                .is_some_and(|byte| self.ascii[usize::from(*byte)] & classes != 0)
            {
                at += 1;
            }
            if bytes.get(at).is_none_or(u8::is_ascii) {
                return at;
            }
            let (class, length) = self.beyond_ascii(text, at);
            if class & classes == 0 {
                return at;
            }
            at += length;
        }
    }

    /// Whether normalization form C leaves a text as it is.
    pub(super) fn is_composed(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + BLOCK);
            if bytes[at..end].is_ascii() {
                at = end;
                continue;
            }
            // To the end of the block, and of the last character in it.
            while at < end {
                let (class, length) = self.at(text, at);
                if class & COMPOSED == 0 && !bytes[at].is_ascii() {
                    return is_nfc(text);
                }
                at += length;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn every_character_is_of_one_class() {
        let table = Characters::get().unwrap();
        let mut counts = [0; 4];
        for character in '\0'..=char::MAX {
            let class = table.of(character);
            let kinds = class & (LETTER | NUMBER | SPACE | MARK);
            assert_eq!(kinds.count_ones(), 1, "{character:?}: {class:b}");
            assert!(class & LETTER == 0 || class & (UPPER | LOWER) != 0);
            counts[kinds.trailing_zeros() as usize] += 1;
        }
        // Unicode's white space has 25 characters.
        assert_eq!(counts[2], 25);
        assert!(counts[0] > 100_000 && counts[1] > 1000);
    }

    #[test]
    fn the_end_of_a_run_is_where_the_next_class_begins() {
        let table = Characters::get().unwrap();
        let text = "añb東9 \u{2003}x";
        assert_eq!(table.run(text, 0, LETTER), "añb東".len());
        assert_eq!(table.run(text, 1, NUMBER), 1);
        let spaces = "añb東9".len();
        assert_eq!(table.run(text, spaces, SPACE), text.len() - 1);
        assert_eq!(table.run(text, text.len(), SPACE), text.len());
        assert_eq!(table.at(text, text.len()), (0, 0));
    }

    #[test]
    fn what_is_composed_already_is_known() {
        let table = Characters::get().unwrap();
        let long = "a".repeat(100);
        for (text, composed) in [
            ("", true),
            ("naïve 東京", true),
            ("e\u{301}", false),
            // No character has both.
            ("x\u{301}", true),
            // Out of order.
            ("x\u{301}\u{323}", false),
            ("\u{212B}", false),
            ("\u{1100}\u{1161}", false),
        ] {
            for text in [text.to_owned(), format!("{long}{text}{long}")] {
                assert_eq!(table.is_composed(&text), composed, "{text:?}");
            }
        }
    }
}
