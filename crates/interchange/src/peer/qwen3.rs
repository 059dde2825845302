//! Qwen3: pre-norm with RMSNorm of each head of q and k before the rotation.

use super::sizes::Defaults;
use super::{DefaultEnds, Peer, sizes};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::Row;
use evenburn_model::strategy::{PreNorm, QkNorm};
use evenburn_model::{Biases, ModelConfig, Plan, Scheme, Site};
use serde_json::{Map, Value, json};

pub(super) struct Qwen3;

/// Of `Qwen3Config`.
const DEFAULTS: Defaults = Defaults {
    vocab: 151_936,
    hidden: 22_016,
    kv_heads: Some(32),
    head_dim: Some(128),
    context: 32_768,
    ends: DefaultEnds::NONE,
    ..sizes::LLAMA
};

/// `sliding_window` of both Qwen3 classes, and the first layer that has it in this one (`max_window_layers`).
pub(super) const WINDOW: usize = 4096;
const FIRST_WINDOW: usize = 28;

/// Pre-norm with q/k norm per head.
pub(super) fn scheme(config: &Fields) -> Result<Scheme, InterchangeError> {
    Ok(Scheme::from(PreNorm {
        qk: QkNorm::Head,
        eps: config.number("rms_norm_eps", DEFAULTS.eps)?,
        ..PreNorm::default()
    }))
}

/// The key `attention_bias`.
pub(super) fn biases(config: &Fields) -> Result<Biases, InterchangeError> {
    Ok(if config.flag("attention_bias", false)? {
        Biases::Attention
    } else {
        Biases::None
    })
}

impl Peer for Qwen3 {
    fn name(&self) -> &'static str {
        "qwen3"
    }

    fn class(&self) -> &'static str {
        "Qwen3ForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        let model = ModelConfig {
            biases: biases(config)?,
            ..sizes::read(config, &DEFAULTS, "hidden_act")?
        };
        let windows = config.flag("use_sliding_window", false)?;
        let first = config.size_or("max_window_layers", FIRST_WINDOW)?;
        sizes::no_window_in_some(config, &model, Some(WINDOW), |layer| {
            windows && layer >= first
        })?;
        Ok((model, scheme(config)?))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let mut map = sizes::write(plan, "hidden_act");
        let attention = sizes::biased(plan, &[Site::Q, Site::K, Site::V, Site::O]);
        map.insert("attention_bias".into(), json!(attention));
        map
    }

    fn ends(&self) -> DefaultEnds {
        DEFAULTS.ends
    }

    fn rows(&self) -> Vec<Row> {
        [
            &sizes::ENDS[..],
            &sizes::ATTENTION,
            &sizes::QK_NORM,
            &sizes::MLP,
            &sizes::INPUT_NORMS,
        ]
        .concat()
    }
}
