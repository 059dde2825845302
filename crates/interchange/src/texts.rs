//! How texts begin and end in a checkpoint of `transformers`: its special ids, and the files that say more of them.

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::folder;
use crate::peer::DefaultEnds;
use crate::template::Around;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// What generation reads in place of the ids of `config.json`.
pub(crate) const GENERATION: &str = "generation_config.json";
/// What `transformers` knows of a tokenizer beside `tokenizer.json`.
pub(crate) const ABOUT_TOKENIZER: &str = "tokenizer_config.json";
/// All that goes along with weights and tokenizer, the last two in folders of older versions.
const BESIDE: [&str; 5] = [
    GENERATION,
    ABOUT_TOKENIZER,
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// One id, or several of which each ends a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ids {
    /// A number.
    One(i64),
    /// A list.
    Many(Vec<i64>),
}

impl Ids {
    fn read(value: &Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }

    /// Those that can be tokens: some checkpoints have -1 where there is none.
    fn tokens(&self) -> Vec<u32> {
        let all = match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        };
        all.iter().filter_map(|id| (*id).try_into().ok()).collect()
    }
}

/// The special ids of a checkpoint and the files beside its weights, kept so that they can be written as they were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    /// `bos_token_id` of `config.json`, or the class's default.
    pub bos_token_id: Option<i64>,
    /// `eos_token_id`, in the same way.
    pub eos_token_id: Option<Ids>,
    /// `pad_token_id`, in the same way.
    pub pad_token_id: Option<i64>,
    /// Tokens that end a generated text, any of them: those of `generation_config.json`, else those of `config.json`.
    pub stops: Vec<u32>,
    /// The token that ends a text, where the tokenizer has it by name.
    pub end_token: Option<String>,
    /// The token that the tokenizer puts before a text, where that is another than the one that ended the text before.
    pub begin_token: Option<String>,
    /// Files beside weights and tokenizer: name and content.
    pub files: BTreeMap<String, String>,
}

/// An id that a class has by default; a key that is there with null says that there is none.
fn one(config: &Fields, key: &str, default: Option<u32>) -> Result<Option<i64>, InterchangeError> {
    if config.is_null(key) {
        return Ok(None);
    }
    let given = config.typed(key, "a whole number", Value::as_i64)?;
    Ok(given.or(default.map(i64::from)))
}

impl Texts {
    /// What a folder says; `defaults` are its class's.
    pub(crate) fn read(
        folder: &Path,
        config: &Fields,
        defaults: DefaultEnds,
    ) -> Result<Self, InterchangeError> {
        const EOS: &str = "eos_token_id";
        let mut files = BTreeMap::new();
        for name in BESIDE {
            if let Some(text) = folder::text(folder, name)? {
                files.insert(name.to_owned(), text);
            }
        }
        let given = config.typed(EOS, "a whole number or a list of them", Ids::read)?;
        let default = defaults.eos.filter(|_| !config.is_null(EOS));
        let eos = given.or(default.map(|id| Ids::One(id.into())));
        let generation = object(folder, &files, GENERATION)?;
        let in_generation = generation
            .get(EOS)
            .filter(|value| !value.is_null())
            .map(|value| {
                Ids::read(value).ok_or_else(|| {
                    let why = format!("`{EOS}` is {value}");
                    InterchangeError::malformed(&folder.join(GENERATION), why)
                })
            })
            .transpose()?;
        let ending = in_generation.as_ref().or(eos.as_ref());
        Ok(Self {
            bos_token_id: one(config, "bos_token_id", defaults.bos)?,
            stops: ending.map(Ids::tokens).unwrap_or_default(),
            eos_token_id: eos,
            pad_token_id: one(config, "pad_token_id", defaults.pad)?,
            end_token: None,
            begin_token: None,
            files,
        })
    }

    /// The files that go along with a checkpoint.
    pub(crate) fn beside(&self) -> impl Iterator<Item = (&String, &String)> {
        let known = |(name, _): &(&String, &String)| BESIDE.contains(&name.as_str());
        self.files.iter().filter(known)
    }

    /// Finds the tokens at both ends of a text in a `tokenizer.json`; returns what of its template is not taken over, in
    /// sentences.
    ///
    /// The end is the first id that the tokenizer has a name for; where configurations name none of its tokens, what
    /// `tokenizer_config.json` says.
    pub(crate) fn name_tokens(
        &mut self,
        folder: &Path,
        tokenizer: &Map<String, Value>,
    ) -> Result<Vec<String>, InterchangeError> {
        let about = object(folder, &self.files, ABOUT_TOKENIZER)?;
        let said = about.get("eos_token").and_then(|token| match token {
            Value::Object(token) => token.get("content")?.as_str(),
            name => name.as_str(),
        });
        let by_id = self.stops.iter().find_map(|id| name_of(tokenizer, *id));
        let by_name = said.filter(|name| has(tokenizer, name)).map(str::to_owned);
        self.end_token = by_id.or(by_name);

        let ends = |token: &String| Some(token) == self.end_token.as_ref();
        let mut left_out = Vec::new();
        let around = Around::of(tokenizer);
        self.begin_token = match around.before.as_slice() {
            [] => None,
            // Without a token that begins a text, the one that ended the text before stands there.
            [one] if ends(one) => None,
            [one] => Some(one.clone()),
            several => {
                left_out.push(format!(
                    "the tokenizer puts {} before a text, and this program one token: none of them is put",
                    several.join(" ")
                ));
                None
            }
        };
        let after: Vec<&str> = around
            .after
            .iter()
            .filter(|token| !ends(token))
            .map(String::as_str)
            .collect();
        if !after.is_empty() {
            left_out.push(format!(
                "the tokenizer puts {} behind a text: left out, only data.eod_token stands there",
                after.join(" ")
            ));
        }
        Ok(left_out)
    }
}

/// The object in one of the files; an empty one where there is none.
fn object(
    folder: &Path,
    files: &BTreeMap<String, String>,
    name: &str,
) -> Result<Map<String, Value>, InterchangeError> {
    match files.get(name) {
        Some(text) => folder::object(&folder.join(name), text),
        None => Ok(Map::new()),
    }
}

/// Every token of a `tokenizer.json` with its id, those added to the model first.
fn tokens(tokenizer: &Map<String, Value>) -> impl Iterator<Item = (&str, u64)> {
    let added = tokenizer.get("added_tokens").and_then(Value::as_array);
    let added = added
        .into_iter()
        .flatten()
        .filter_map(|token| Some((token.get("content")?.as_str()?, token.get("id")?.as_u64()?)));
    let vocabulary = tokenizer.get("model").and_then(|model| model.get("vocab"));
    // A table of names and ids, or, in Unigram models, names and their logarithmic probabilities in the order of the ids.
    let table = vocabulary.and_then(Value::as_object).into_iter().flatten();
    let table = table.filter_map(|(name, id)| Some((name.as_str(), id.as_u64()?)));
    let list = vocabulary.and_then(Value::as_array).into_iter().flatten();
    let list = list
        .zip(0..)
        .filter_map(|(piece, id)| Some((piece.get(0)?.as_str()?, id)));
    added.chain(table).chain(list)
}

fn name_of(tokenizer: &Map<String, Value>, id: u32) -> Option<String> {
    let found = tokens(tokenizer).find(|(_, own)| *own == u64::from(id));
    found.map(|(name, _)| name.to_owned())
}

fn has(tokenizer: &Map<String, Value>, name: &str) -> bool {
    tokens(tokenizer).any(|(own, _)| own == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn tokens_are_named_in_every_kind_of_vocabulary() {
        let added = json!([{ "id": 7, "content": "</s>", "special": true }]);
        for (vocabulary, id, name) in [
            (json!({ "a": 0, "b": 1 }), 1, Some("b")),
            (json!([["<unk>", 0.0], ["▁the", -3.5]]), 1, Some("▁the")),
            (json!({ "a": 0 }), 7, Some("</s>")),
            // An added token may stand in the vocabulary too; its own text counts.
            (json!({ "x": 7 }), 7, Some("</s>")),
            (json!({ "a": 0 }), 3, None),
        ] {
            let tokenizer =
                map(&json!({ "added_tokens": added, "model": { "vocab": vocabulary } }));
            assert_eq!(
                name_of(&tokenizer, id).as_deref(),
                name,
                "{vocabulary} {id}"
            );
        }
    }

    /// What `transformers` 5.24 makes of the keys, and what ends a generated text.
    #[test]
    fn ids_are_those_of_the_files_or_of_the_class() {
        let llama = DefaultEnds {
            bos: Some(1),
            eos: Some(2),
            pad: None,
        };
        let one = |id| Some(Ids::One(id));
        let many = |ids: &[i64]| Some(Ids::Many(ids.to_vec()));
        for (config, generation, bos, eos, stops) in [
            (json!({}), None, Some(1), one(2), vec![2]),
            (
                json!({ "eos_token_id": 5, "bos_token_id": 4 }),
                None,
                Some(4),
                one(5),
                vec![5],
            ),
            (
                json!({ "eos_token_id": [5, 6] }),
                None,
                Some(1),
                many(&[5, 6]),
                vec![5, 6],
            ),
            (
                json!({ "eos_token_id": null, "bos_token_id": null }),
                None,
                None,
                None,
                vec![],
            ),
            (
                json!({ "eos_token_id": -1 }),
                None,
                Some(1),
                one(-1),
                vec![],
            ),
            // Generation's own ids end what is generated, and leave those of the configuration alone.
            (
                json!({ "eos_token_id": 5 }),
                Some(json!({ "eos_token_id": [7, 5] })),
                Some(1),
                one(5),
                vec![7, 5],
            ),
            (
                json!({}),
                Some(json!({ "eos_token_id": 9, "bos_token_id": 8 })),
                Some(1),
                one(2),
                vec![9],
            ),
            (
                json!({}),
                Some(json!({ "temperature": 0.6 })),
                Some(1),
                one(2),
                vec![2],
            ),
            (
                json!({ "eos_token_id": null }),
                Some(json!({ "eos_token_id": null })),
                Some(1),
                None,
                vec![],
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            if let Some(generation) = &generation {
                std::fs::write(folder.path().join(GENERATION), generation.to_string()).unwrap();
            }
            let fields = Fields::new(Path::new("config.json"), map(&config));
            let read = Texts::read(folder.path(), &fields, llama).unwrap();
            let case = format!("{config} {generation:?}");
            assert_eq!(
                (read.bos_token_id, read.eos_token_id, read.stops),
                (bos, eos, stops),
                "{case}"
            );
            assert_eq!(
                read.files.len(),
                usize::from(generation.is_some()),
                "{case}"
            );
        }
        for config in [
            json!({ "eos_token_id": "</s>" }),
            json!({ "bos_token_id": [1, 2] }),
        ] {
            let fields = Fields::new(Path::new("config.json"), map(&config));
            let refused = Texts::read(Path::new("."), &fields, llama).unwrap_err();
            assert!(
                matches!(refused, InterchangeError::Key { .. }),
                "{config}: {refused}"
            );
        }
    }
}
