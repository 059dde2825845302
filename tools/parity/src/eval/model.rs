//! A model of `transformers` with the tokenizer beside it, as the harness uses both.

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use evenburn::data::Tokenizer;
use evenburn::interchange::{Imported, import};
use evenburn_eval::{Scorer, TextEncoder, TokenRequest, TokenScore};
use evenburn_model::{Decoder, ModelConfig, weights};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

/// The files that name the tokens at the ends of a text, the first that does so is believed.
const NAMING: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

/// A model that answers.
#[derive(Debug)]
pub struct Model {
    decoder: Decoder,
    encoder: TextEncoder,
    config: ModelConfig,
    parameters: usize,
}

impl Model {
    /// Reads a folder of `transformers`, in single precision for the CPU.
    ///
    /// # Errors
    /// The folder is no model of a class that is known, or has no tokenizer with a token that ends a text.
    pub fn load(folder: &Path) -> Result<Self> {
        let imported = import(folder)?;
        let encoder = encoder(folder, &imported)?;
        let decoder = Decoder::new(&imported.plan, 0, &Device::flex());
        Ok(Self {
            decoder: weights::replace(decoder, imported.weights)?,
            encoder,
            parameters: imported.plan.cost().params,
            config: imported.config,
        })
    }

    /// Makes tokens of texts.
    pub fn encoder(&self) -> &TextEncoder {
        &self.encoder
    }

    /// Tokens that it takes.
    pub fn context(&self) -> usize {
        self.config.context
    }

    /// Rows of its output layer.
    pub fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    /// Parameters.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The scores of requests that are asked together.
    ///
    /// # Errors
    /// A request has more tokens than the model takes, or one that it doesn't have.
    pub fn score(&self, requests: &[TokenRequest]) -> Result<Vec<TokenScore>> {
        let scorer = Scorer::new(&self.decoder, self.context());
        Ok(scorer.score(requests, &mut |_| ControlFlow::Continue(()))?)
    }
}

/// The tokenizer with the tokens at both ends of a text that the files beside it name; the one of `config.json` where they
/// name none.
fn encoder(folder: &Path, imported: &Imported) -> Result<TextEncoder> {
    let origin = folder.join("tokenizer.json");
    let Some(json) = imported.tokenizer.clone() else {
        bail!("{}: not there", origin.display());
    };
    let mut files = Vec::new();
    for name in NAMING {
        if let Some(text) = imported.texts.files.get(name) {
            let value = serde_json::from_str(text);
            files.push(value.with_context(|| folder.join(name).display().to_string())?);
        }
    }
    let (bos, eos) = (named(&files, "bos_token"), named(&files, "eos_token"));
    let end = eos.clone().or(imported.texts.end_token.clone());
    let Some(end) = end.or(bos.clone()) else {
        bail!(
            "{}: neither {} nor config.json names the token that ends a text",
            folder.display(),
            NAMING.join(", ")
        );
    };
    let tokenizer = Tokenizer::from_json(json, &origin, &end)?;
    Ok(TextEncoder::new(&tokenizer.with_bos(bos.as_deref())?)?)
}

/// A token's name in the first file that has one: a string, or the `content` of an object.
fn named(files: &[Value], key: &str) -> Option<String> {
    let name = |file: &Value| {
        let token = file.get(key)?;
        let content = || token.get("content").and_then(Value::as_str);
        token.as_str().or_else(content).map(str::to_owned)
    };
    files.iter().find_map(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_strings_objects_or_null() {
        let none = json!({ "eos_token": null });
        let text = json!({ "eos_token": "<a>" });
        let object = json!({ "eos_token": { "content": "<b>", "lstrip": false } });
        for (files, name) in [
            (vec![none.clone(), text.clone()], Some("<a>")),
            (vec![object.clone(), text.clone()], Some("<b>")),
            (vec![text, object], Some("<a>")),
            (vec![none], None),
            (vec![], None),
        ] {
            assert_eq!(named(&files, "eos_token").as_deref(), name, "{files:?}");
        }
    }
}
