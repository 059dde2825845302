//! A model of `transformers` with the tokenizer beside it, as the harness uses both.

use anyhow::{Result, bail};
use burn::tensor::Device;
use evenburn::data::Tokenizer;
use evenburn::interchange::{Imported, TextEnds, import};
use evenburn_eval::{Scorer, TextEncoder, TokenRequest, TokenScore};
use evenburn_model::{Decoder, ModelConfig, weights};
use std::ops::ControlFlow;
use std::path::Path;

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

/// The tokenizer with the tokens at both ends of a text that the files beside it name.
fn encoder(folder: &Path, imported: &Imported) -> Result<TextEncoder> {
    let origin = folder.join("tokenizer.json");
    let Some(json) = imported.tokenizer.clone() else {
        bail!("{}: not there", origin.display());
    };
    let ends = TextEnds::of(&imported.texts, &json);
    // Where one token alone is named, it stands at both ends.
    let Some(end) = ends.end.or(ends.begin.clone()) else {
        bail!(
            "{}: nothing says which token ends a text (eos_token of tokenizer_config.json, eos_token_id of config.json)",
            folder.display()
        );
    };
    let tokenizer = Tokenizer::from_json(json, &origin, &end)?;
    Ok(TextEncoder::new(
        &tokenizer.with_bos(ends.begin.as_deref())?,
    )?)
}
