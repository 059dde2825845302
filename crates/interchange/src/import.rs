//! From a folder of `transformers` to a plan and its weights.

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::{folder, peer, rows};
use burn::tensor::TensorData;
use evenburn_model::{ModelConfig, Plan, Scheme};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The output layer in every class.
const OUTPUT: &str = "lm_head.weight";

/// A model that was read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Imported {
    /// The class it was written by.
    pub class: &'static str,
    /// Sizes.
    pub config: ModelConfig,
    /// Scheme, with the options that make the class's function.
    pub scheme: Scheme,
    /// The plan of both.
    pub plan: Plan,
    /// Every parameter of the plan, by path.
    pub weights: BTreeMap<String, TensorData>,
    /// The folder's `tokenizer.json`, if it has one.
    pub tokenizer: Option<PathBuf>,
    /// The token that ends a text, where tokenizer and configuration say so.
    pub end_of_text: Option<String>,
}

/// Reads a checkpoint of one of [`crate::peer_names`].
///
/// # Errors
/// [`InterchangeError::Inexpressible`] for an architecture or an option that no plan says,
/// [`InterchangeError::Tensors`] with every tensor that is missing, unexpected or of another shape.
pub fn import(path: &Path) -> Result<Imported, InterchangeError> {
    let file = path.join(folder::CONFIG);
    let config = Fields::new(&file, folder::json(&file)?);
    let name = config.required_text("model_type")?;
    let Some(peer) = peer::of(name) else {
        let why = format!("these are read: {}", peer::names().join(", "));
        return Err(config.inexpressible("model_type", &why));
    };
    let (sizes, scheme) = peer.read(&config)?;
    let plan = Plan::new(&sizes, scheme.strategy())?;
    let mut theirs: BTreeMap<String, TensorData> = folder::tensors(path)?
        .into_iter()
        .filter(|(name, _)| !peer.is_buffer(name))
        .map(|(name, data)| (peer.full_name(&name), data))
        .collect();
    let table = peer.rows();
    if plan.head.is_none() {
        // Some programs store the shared table twice.
        let shared = |row: &rows::Row| row.ours == ["embed.weight"];
        let first = table.iter().find(|row| shared(row)).map(|row| row.theirs);
        let (first, again) = (first.and_then(|name| theirs.get(name)), theirs.get(OUTPUT));
        if first.is_some() && first == again {
            theirs.remove(OUTPUT);
        }
    }
    let weights = rows::read(&table, &plan, theirs, path, peer.class())?;
    let tokenizer = Some(path.join(folder::TOKENIZER)).filter(|file| file.is_file());
    let end_of_text = match (&tokenizer, config.end_of_text()) {
        (Some(file), Some(id)) => token(file, id)?,
        _ => None,
    };
    Ok(Imported {
        class: peer.class(),
        config: sizes,
        scheme,
        plan,
        weights,
        tokenizer,
        end_of_text,
    })
}

/// The text of a token in a `tokenizer.json`.
fn token(file: &Path, id: u64) -> Result<Option<String>, InterchangeError> {
    let map = folder::json(file)?;
    let added = map.get("added_tokens").and_then(Value::as_array);
    let added = added.into_iter().flatten().find_map(|token| {
        let own = token.get("id").and_then(Value::as_u64) == Some(id);
        own.then(|| token.get("content").and_then(Value::as_str))?
    });
    let vocabulary = map.get("model").and_then(|model| model.get("vocab"));
    let entry = vocabulary.and_then(Value::as_object).and_then(|all| {
        let found = all.iter().find(|(_, n)| n.as_u64() == Some(id));
        found.map(|(text, _)| text.as_str())
    });
    Ok(added.or(entry).map(str::to_owned))
}
