//! The tokens at the ends of a text, as `transformers` has them: what a harness puts before a text without a context.

use serde_json::Value;

use crate::texts::Texts;

/// Files that name tokens, the more important first.
const FILES: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// Tokenizers of `transformers` that have no special tokens but those that are named.
const GENERIC: [&str; 2] = ["PreTrainedTokenizerFast", "TokenizersBackend"];

/// Names of the tokens at both ends of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextEnds {
    /// The token that ends a text.
    pub end: Option<String>,
    /// The token that begins one, where it is another.
    pub begin: Option<String>,
}

impl TextEnds {
    /// What the files beside a `tokenizer.json` say, or else the ids of `config.json`; `tokenizer` is the text of the former.
    ///
    /// ```
    /// use evenburn_interchange::{TextEnds, Texts};
    /// let texts = Texts {
    ///     files: [("tokenizer_config.json".to_owned(), r#"{"eos_token": "</s>", "bos_token": null}"#.to_owned())].into(),
    ///     ..Default::default()
    /// };
    /// let ends = TextEnds::of(&texts, r#"{"added_tokens": [{"id": 2, "content": "</s>"}]}"#);
    /// assert_eq!((ends.end.as_deref(), ends.begin), (Some("</s>"), None));
    /// ```
    pub fn of(texts: &Texts, tokenizer: &str) -> Self {
        let tokenizer: Value = serde_json::from_str(tokenizer).unwrap_or_default();
        let files = FILES.iter().filter_map(|name| {
            let text = texts.files.get(*name)?;
            serde_json::from_str::<Value>(text).ok()
        });
        let files: Vec<Value> = files.collect();
        let said = |key: &str| files.iter().find_map(|file| file.get(key));
        let end = said("eos_token").and_then(name);
        let begin = match said("bos_token") {
            // The key is there: null says that there is none.
            Some(token) => name(token),
            // The class without defaults of its own.
            None if said("tokenizer_class")
                .is_some_and(|class| GENERIC.iter().any(|it| class == it)) =>
            {
                None
            }
            None => texts.bos_token_id.and_then(|id| added(&tokenizer, id)),
        };
        let end = end
            .filter(|end| has(&tokenizer, end))
            .or_else(|| texts.end_token.clone());
        let begin = begin.filter(|begin| has(&tokenizer, begin) && Some(begin) != end.as_ref());
        Self { end, begin }
    }
}

/// A token's name: a text, or an object with more about it.
fn name(token: &Value) -> Option<String> {
    let name = token.as_str().or_else(|| token.get("content")?.as_str())?;
    Some(name.to_owned())
}

/// The name of a token that was added to the vocabulary.
fn added(tokenizer: &Value, id: i64) -> Option<String> {
    let tokens = tokenizer.get("added_tokens")?.as_array()?;
    let token = tokens.iter().find(|token| token["id"] == id)?;
    name(token)
}

fn has(tokenizer: &Value, name: &str) -> bool {
    let added = tokenizer.get("added_tokens").and_then(Value::as_array);
    let is_it = |token: &Value| token["content"] == name;
    let model = &tokenizer["model"]["vocab"];
    added.is_some_and(|tokens| tokens.iter().any(is_it))
        || model.get(name).is_some()
        || model
            .as_array()
            .is_some_and(|pieces| pieces.iter().any(|piece| piece[0] == name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use serde_json::json;

    #[test]
    fn files_count_before_ids() {
        let tokenizer = json!({
            "added_tokens": [{"id": 0, "content": "<e>"}, {"id": 1, "content": "<s>"}],
            "model": {"vocab": {"</s>": 2}},
        });
        for (file, id, end, begin) in [
            (json!({"eos_token": "<e>"}), None, Some("<e>"), None),
            (
                json!({"eos_token": "</s>", "bos_token": {"content": "<s>"}}),
                None,
                Some("</s>"),
                Some("<s>"),
            ),
            (
                json!({"eos_token": "<e>", "bos_token": null}),
                Some(1),
                Some("<e>"),
                None,
            ),
            (
                json!({"eos_token": "<e>"}),
                Some(1),
                Some("<e>"),
                Some("<s>"),
            ),
            (json!({"eos_token": "<e>"}), Some(2), Some("<e>"), None),
            (
                json!({"eos_token": "<e>", "tokenizer_class": "PreTrainedTokenizerFast"}),
                Some(1),
                Some("<e>"),
                None,
            ),
            // One token for both ends.
            (
                json!({"eos_token": "<e>", "bos_token": "<e>"}),
                Some(0),
                Some("<e>"),
                None,
            ),
            (
                json!({"eos_token": "<unknown>"}),
                None,
                Some("<named>"),
                None,
            ),
            (json!({}), None, Some("<named>"), None),
        ] {
            let texts = Texts {
                bos_token_id: id,
                end_token: Some("<named>".into()),
                files: [("tokenizer_config.json".to_owned(), file.to_string())].into(),
                ..Texts::default()
            };
            let ends = TextEnds::of(&texts, &tokenizer.to_string());
            assert_eq!(
                (ends.end.as_deref(), ends.begin.as_deref()),
                (end, begin),
                "{file}"
            );
        }
    }
}
