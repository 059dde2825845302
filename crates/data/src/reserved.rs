//! Tokens that mark the ends of documents, and that no text becomes.
//!
//! A token can be marked as special, and then text is not searched for it. But the model may have
//! it as an ordinary entry too: a piece of a Unigram model, the result of a merge, a word, a
//! character. A word that would become one is encoded by a model without these entries, which is
//! otherwise the same; the ids of all other words stay as they are.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;
use tokenizers::{Model, ModelWrapper, Token};

use crate::parts;

/// What a Unigram's piece is called in the model without it; ids are positions there, so it must
/// keep its place. The character is one that Unicode keeps out of texts.
const NOWHERE: &str = "\u{10FFFF}\u{10FFFF}\u{10FFFF}\u{10FFFF}";

/// Characters of a text that a message shows.
const SHOWN: usize = 40;

/// A token that no text becomes.
#[derive(Debug, Clone)]
struct Mark {
    id: u32,
    name: String,
    /// The key that names it.
    key: &'static str,
}

/// The tokens that no text becomes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reserved {
    marks: Vec<Mark>,
    /// The model without them, made when a text first asks for it.
    without: OnceLock<Result<Arc<ModelWrapper>, String>>,
}

impl Reserved {
    /// Reserves one more token, which the configuration's `key` names.
    pub(crate) fn add(&mut self, id: u32, name: &str, key: &'static str) {
        self.marks.push(Mark {
            id,
            name: name.into(),
            key,
        });
        self.without = OnceLock::new();
    }

    /// Their ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.marks.iter().map(|mark| mark.id).collect()
    }

    /// The tokens of a word. `json` is the tokenizer's file.
    pub(crate) fn tokenize(
        &self,
        model: &ModelWrapper,
        json: &str,
        word: &str,
    ) -> tokenizers::Result<Vec<Token>> {
        let tokens = model.tokenize(word)?;
        match tokens.iter().find_map(|token| self.mark(token.id)) {
            Some(mark) => self.otherwise(model, json, word, tokens, mark),
            None => Ok(tokens),
        }
    }

    /// The tokens of a word that would hold `mark`.
    fn otherwise(
        &self,
        model: &ModelWrapper,
        json: &str,
        word: &str,
        tokens: Vec<Token>,
        mark: &Mark,
    ) -> tokenizers::Result<Vec<Token>> {
        let without = self
            .without
            .get_or_init(|| self.leave_out(model, json).map(Arc::new))
            .as_ref()
            .map_err(Clone::clone)?;
        // Merges build on one another: without one, the word's other tokens would be other ones too.
        let is_own_text = |token: &Token| {
            let text = word.get(token.offsets.0..token.offsets.1);
            self.mark(token.id).is_none() || text == Some(token.value.as_str())
        };
        let alone = matches!(model, ModelWrapper::BPE(bpe) if !parts::has_affixes(bpe))
            && tokens.iter().all(is_own_text);
        let mut found = Vec::with_capacity(tokens.len() + 8);
        if alone {
            for token in tokens {
                if self.mark(token.id).is_none() {
                    found.push(token);
                    continue;
                }
                let (start, end) = token.offsets;
                let part = self.encode(without, &word[start..end], end - start, mark)?;
                found.extend(part.into_iter().map(|mut token| {
                    token.offsets = (token.offsets.0 + start, token.offsets.1 + start);
                    token
                }));
            }
        } else {
            let end = tokens.last().map_or(0, |token| token.offsets.1);
            found = self.encode(without, word, end, mark)?;
        }
        Ok(found)
    }

    /// The tokens of a text by the model without the reserved ones, which must reach its `end`.
    fn encode(
        &self,
        without: &ModelWrapper,
        text: &str,
        end: usize,
        mark: &Mark,
    ) -> tokenizers::Result<Vec<Token>> {
        let whole = |tokens: &Vec<Token>| {
            tokens.last().is_some_and(|token| token.offsets.1 >= end)
                && tokens.iter().all(|token| self.mark(token.id).is_none())
        };
        let tokens = without.tokenize(text).ok().filter(whole);
        tokens.ok_or_else(|| {
            let shown: String = text.chars().take(SHOWN).collect();
            let Mark { name, key, .. } = mark;
            format!(
                "it encodes the text {shown:?} as `{name}` and has nothing else for it, but `{name}` must not stand for text: \
                 set {key} to a token that no text becomes, such as a special one"
            )
            .into()
        })
    }

    fn mark(&self, id: u32) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.id == id)
    }

    /// The model of the file without the reserved entries.
    fn leave_out(&self, model: &ModelWrapper, json: &str) -> Result<ModelWrapper, String> {
        #[derive(Deserialize)]
        struct File {
            model: Value,
        }
        let names: Vec<String> = self
            .marks
            .iter()
            .filter_map(|mark| model.id_to_token(mark.id))
            .collect();
        let is_out = |name: &str| names.iter().any(|n| n == name);
        let mut file: File = serde_json::from_str(json).map_err(|e| e.to_string())?;
        let prefix = file.model["continuing_subword_prefix"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        match file.model.get_mut("vocab") {
            Some(Value::Array(pieces)) => {
                for piece in pieces {
                    if piece[0].as_str().is_some_and(is_out) {
                        piece[0] = NOWHERE.into();
                    }
                }
            }
            Some(Value::Object(entries)) => entries.retain(|name, _| !is_out(name)),
            _ => {}
        }
        if let Some(Value::Array(merges)) = file.model.get_mut("merges") {
            merges.retain(|merge| {
                let (left, right) = match merge {
                    Value::String(pair) => pair.split_once(' ').unwrap_or_default(),
                    pair => (
                        pair[0].as_str().unwrap_or_default(),
                        pair[1].as_str().unwrap_or_default(),
                    ),
                };
                let merged = [left, right.strip_prefix(&prefix).unwrap_or(right)].concat();
                !is_out(left) && !is_out(right) && !is_out(&merged)
            });
            file.model["dropout"] = Value::Null;
        }
        serde_json::from_value(file.model).map_err(|e| e.to_string())
    }
}
