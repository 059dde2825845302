//! The classes of `transformers` that are plans of ours, one file each.

mod gemma2;
mod gpt2;
mod llama;
mod mixtral;
mod olmo2;
mod qwen3;
mod qwen3_moe;
mod sizes;

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::Row;
use evenburn_model::{ModelConfig, Plan, Scheme};
use serde_json::{Map, Value};

/// A class of `transformers`.
pub(crate) trait Peer: Sync {
    /// `model_type` of its configuration.
    fn name(&self) -> &'static str;

    /// The class that loads it.
    fn class(&self) -> &'static str;

    /// What a configuration is to us.
    ///
    /// # Errors
    /// [`InterchangeError::Key`] and [`InterchangeError::Inexpressible`] name the key.
    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError>;

    /// The configuration nearest to a plan: read back, it may be another function.
    fn write(&self, plan: &Plan) -> Map<String, Value>;

    /// Names and layouts of its tensors.
    fn rows(&self) -> Vec<Row>;

    /// Whether a tensor in a checkpoint is no parameter.
    fn is_buffer(&self, name: &str) -> bool {
        name.ends_with("rotary_emb.inv_freq")
    }

    /// The name of a tensor where a checkpoint shortens it.
    fn full_name(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// Every peer, those without experts first.
pub(crate) const ALL: [&dyn Peer; 7] = [
    &llama::Llama,
    &qwen3::Qwen3,
    &olmo2::Olmo2,
    &gemma2::Gemma2,
    &gpt2::Gpt2,
    &mixtral::Mixtral,
    &qwen3_moe::Qwen3Moe,
];

/// The architectures that are read and written, by their `model_type`.
///
/// ```
/// assert!(evenburn_interchange::peer_names().contains(&"llama"));
/// ```
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|peer| peer.name()).collect()
}

pub(crate) fn of(name: &str) -> Option<&'static dyn Peer> {
    ALL.into_iter().find(|peer| peer.name() == name)
}
