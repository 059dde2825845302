//! Added tokens: those that text is searched for before it is cut into words.

use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::{AddedToken, Tokenizer};

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'t> {
    Text(&'t str),
    Token(u32),
}

/// Tokens that a text is searched for at once.
#[derive(Default)]
pub(super) struct Added {
    /// None where there is nothing to be found.
    search: Option<AhoCorasick>,
    /// The token of each pattern; none for special ones, which are found and passed over.
    ids: Vec<Option<u32>>,
}

impl Added {
    /// The added tokens that are searched for before a text is normalized, and those that are after that. None if one of
    /// them is more than its own characters, wherever they stand.
    pub(super) fn of(tokenizer: &Tokenizer, composed: impl Fn(&str) -> bool) -> Option<[Self; 2]> {
        let added = tokenizer.get_added_vocabulary();
        let special = |token: &AddedToken| added.is_special_token(&token.content);
        let tokens = || added.get_added_tokens_decoder().iter();
        let is_plain = |token: &AddedToken| {
            (!token.normalized || composed(&token.content))
                && (special(token) || !(token.single_word || token.lstrip || token.rstrip))
        };
        if !tokens().all(|(_, token)| is_plain(token)) {
            return None;
        }
        let of = |normalized: bool| -> Option<Self> {
            let these = tokens().filter(|(_, token)| token.normalized == normalized);
            let ids: Vec<_> = these
                .clone()
                .map(|(id, token)| (!special(token)).then_some(*id))
                .collect();
            if ids.iter().all(Option::is_none) {
                return Some(Self::default());
            }
            let patterns = these.map(|(_, token)| token.content.as_str());
            let search = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(patterns)
                .ok()?;
            Some(Self {
                search: Some(search),
                ids,
            })
        };
        Some([of(false)?, of(true)?])
    }

    /// The parts of a text, in order and without empty ones.
    pub(super) fn split<'t, E>(
        &self,
        text: &'t str,
        mut each: impl FnMut(Part<'t>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = 0;
        if let Some(search) = &self.search {
            for found in search.find_iter(text) {
                let Some(id) = self.ids[found.pattern().as_usize()] else {
                    continue;
                };
                if start < found.start() {
                    each(Part::Text(&text[start..found.start()]))?;
                }
                each(Part::Token(id))?;
                start = found.end();
            }
        }
        if start < text.len() {
            each(Part::Text(&text[start..]))?;
        }
        Ok(())
    }
}
