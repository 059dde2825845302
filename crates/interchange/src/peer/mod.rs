//! The classes of `transformers` that are plans of ours, one file each.

mod gemma2;
mod gpt2;
mod gpt_neox;
mod llama;
mod mixtral;
mod olmo2;
mod phi3;
mod qwen3;
mod qwen3_moe;
mod sizes;
mod stablelm;
#[cfg(test)]
mod tests;

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::fused;
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

    /// The ids of special tokens where a configuration leaves them out.
    fn ends(&self) -> DefaultEnds;

    /// Second names of keys, each with the first.
    fn second_names(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Ends of the names of tensors that are no parameters, in checkpoints of older versions.
    fn buffers(&self) -> &'static [&'static str] {
        &["rotary_emb.inv_freq"]
    }

    /// Names of the parts of a mixture of experts, where the class is one.
    fn experts(&self) -> Option<fused::Names> {
        None
    }

    /// Name of the output layer in a checkpoint.
    fn output(&self) -> &'static str {
        "lm_head.weight"
    }

    /// What the names of tensors begin with, output layer apart; checkpoints of the class without that layer leave it out.
    fn prefix(&self) -> &'static str {
        "model."
    }
}

/// Ids of special tokens that a class has by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefaultEnds {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) pad: Option<u32>,
}

impl DefaultEnds {
    /// A class whose configurations have to name them.
    pub(crate) const NONE: Self = Self {
        bos: None,
        eos: None,
        pad: None,
    };
}

/// Every peer, those without experts first.
pub(crate) const ALL: [&dyn Peer; 10] = [
    &llama::Llama,
    &qwen3::Qwen3,
    &olmo2::Olmo2,
    &gemma2::Gemma2,
    &gpt2::Gpt2,
    &gpt_neox::GptNeoX,
    &stablelm::StableLm,
    &phi3::Phi3,
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

/// Why no plan has attention and MLP side by side.
const PARALLEL: &str = "there attention and MLP read one stream side by side, and in a plan one reads what the other has added";

/// Classes that no plan computes, whatever their configuration, each with the reason.
const REFUSED: [(&str, &str); 1] = [("phi", PARALLEL)];

/// Why a class is not `done`, which is "read" or "written".
pub(crate) fn why_not(name: &str, done: &str) -> String {
    let refused = REFUSED.iter().find(|(known, _)| *known == name);
    match refused {
        Some((_, why)) => (*why).to_owned(),
        None => format!("these are {done}: {}", names().join(", ")),
    }
}

pub(crate) fn of(name: &str) -> Option<&'static dyn Peer> {
    ALL.into_iter().find(|peer| peer.name() == name)
}
