//! What the tokenizer of a checkpoint puts around a text when it is called without further ado: the post-processor of its
//! `tokenizer.json`.

use crate::error::InterchangeError;
use crate::export::Token;
use crate::folder;
use serde_json::{Map, Value, json};
use std::fmt;
use std::path::Path;

/// The key in `tokenizer.json`.
const KEY: &str = "post_processor";

/// Names of the tokens around a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Around {
    pub(crate) before: Vec<String>,
    pub(crate) after: Vec<String>,
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.before {
            write!(f, "{token} ")?;
        }
        write!(f, "$A")?;
        self.after
            .iter()
            .try_for_each(|token| write!(f, " {token}"))
    }
}

impl Around {
    /// What is done to a text, in words.
    pub(crate) fn done(&self) -> String {
        if *self == Self::default() {
            "adds nothing to a text".to_owned()
        } else {
            format!("makes {self} of a text $A")
        }
    }

    /// What the template of a `tokenizer.json` puts around one text.
    pub(crate) fn of(tokenizer: &Map<String, Value>) -> Self {
        let mut around = Self::default();
        if let Some(processor) = tokenizer.get(KEY) {
            around.add(processor);
        }
        around
    }

    /// Puts around what is there what one processor does.
    fn add(&mut self, processor: &Value) {
        // The two processors of BERT and RoBERTa have a pair of name and id for each end.
        let end = |key: &str| Some(processor.get(key)?.get(0)?.as_str()?.to_owned());
        match processor.get("type").and_then(Value::as_str) {
            Some("Sequence") => {
                let all = processor.get("processors").and_then(Value::as_array);
                all.into_iter().flatten().for_each(|inner| self.add(inner));
            }
            Some("TemplateProcessing") => {
                let pieces = processor.get("single").and_then(Value::as_array);
                let (mut before, mut after, mut behind) = (Vec::new(), Vec::new(), false);
                for piece in pieces.into_iter().flatten() {
                    let special = piece.get("SpecialToken").and_then(|token| token.get("id"));
                    match special.and_then(Value::as_str) {
                        Some(id) if behind => after.extend(names(processor, id)),
                        Some(id) => before.extend(names(processor, id)),
                        None => behind = true,
                    }
                }
                self.enclose(before, after);
            }
            Some("BertProcessing" | "RobertaProcessing") => {
                self.enclose(
                    end("cls").into_iter().collect(),
                    end("sep").into_iter().collect(),
                );
            }
            _ => {}
        }
    }

    fn enclose(&mut self, before: Vec<String>, after: Vec<String>) {
        self.before.splice(0..0, before);
        self.after.extend(after);
    }
}

/// The tokens that a template's special token stands for.
fn names(template: &Value, id: &str) -> Vec<String> {
    let entry = template.get("special_tokens").and_then(|all| all.get(id));
    let tokens = entry.and_then(|entry| entry.get("tokens")?.as_array());
    match tokens {
        Some(tokens) => tokens
            .iter()
            .filter_map(|token| Some(token.as_str()?.to_owned()))
            .collect(),
        None => vec![id.to_owned()],
    }
}

/// A `tokenizer.json` that puts one token before a text and nothing behind it, and what its template was before. The file
/// stays as it is where it does so already.
pub(crate) fn beginning_with(
    token: &Token,
    json: &str,
) -> Result<(String, Around), InterchangeError> {
    let path = Path::new(folder::TOKENIZER);
    let mut tokenizer = folder::object(path, json)?;
    let found = Around::of(&tokenizer);
    if found.before == [token.name.as_str()] && found.after.is_empty() {
        return Ok((json.to_owned(), found));
    }
    let special = |part: u8| json!({ "SpecialToken": { "id": token.name, "type_id": part } });
    let text = |name: &str, part: u8| json!({ "Sequence": { "id": name, "type_id": part } });
    let template = json!({
        "type": "TemplateProcessing",
        "single": [special(0), text("A", 0)],
        "pair": [special(0), text("A", 0), special(1), text("B", 1)],
        "special_tokens": {
            token.name.clone(): { "id": token.name, "ids": [token.id], "tokens": [token.name] },
        },
    });
    let mut processors = Vec::new();
    if let Some(processor) = tokenizer.get(KEY) {
        offsets(processor, &mut processors);
    }
    processors.push(template.clone());
    let whole = if processors.len() == 1 {
        template
    } else {
        json!({ "type": "Sequence", "processors": processors })
    };
    tokenizer.insert(KEY.to_owned(), whole);
    let written = serde_json::to_string_pretty(&tokenizer)
        .map_err(|e| InterchangeError::malformed(path, e.to_string()))?;
    Ok((written, found))
}

/// The processors that add nothing to a text, but say where in it each token is.
fn offsets(processor: &Value, found: &mut Vec<Value>) {
    match processor.get("type").and_then(Value::as_str) {
        Some("Sequence") => {
            let all = processor.get("processors").and_then(Value::as_array);
            all.into_iter()
                .flatten()
                .for_each(|inner| offsets(inner, found));
        }
        Some("ByteLevel") => found.push(processor.clone()),
        // RoBERTa's does both.
        Some("RobertaProcessing") => {
            let flag = |key: &str| processor.get(key).and_then(Value::as_bool).unwrap_or(true);
            found.push(json!({
                "type": "ByteLevel",
                "add_prefix_space": flag("add_prefix_space"),
                "trim_offsets": flag("trim_offsets"),
                "use_regex": true,
            }));
        }
        _ => {}
    }
}
