//! OLMo 2: RMSNorm behind each branch, of q and k over the full width.

use super::sizes::Defaults;
use super::{DefaultEnds, Peer, qwen3, sizes};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::{Row, same};
use evenburn_model::{ModelConfig, Plan, Scheme, Site};
use serde_json::{Map, Value, json};

pub(super) struct Olmo2;

/// Of `Olmo2Config`.
const DEFAULTS: Defaults = Defaults {
    vocab: 50_304,
    eps: 1e-5,
    ends: DefaultEnds {
        bos: None,
        eos: Some(50_279),
        pad: Some(1),
    },
    ..sizes::LLAMA
};

const OUTPUT_NORMS: [Row; 2] = [
    same(
        "model.layers.{}.post_attention_layernorm.weight",
        &["blocks.{}.attn_residual.output.gain.value"],
    ),
    same(
        "model.layers.{}.post_feedforward_layernorm.weight",
        &["blocks.{}.mlp_residual.output.gain.value"],
    ),
];

impl Peer for Olmo2 {
    fn name(&self) -> &'static str {
        "olmo2"
    }

    fn class(&self) -> &'static str {
        "Olmo2ForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        config.refuse("clip_qkv", |_| false, "q, k and v are not clipped")?;
        let model = ModelConfig {
            biases: qwen3::biases(config)?,
            ..sizes::read(config, &DEFAULTS, "hidden_act")?
        };
        let scheme = evenburn_model::strategy::Olmo2 {
            eps: config.number("rms_norm_eps", DEFAULTS.eps)?,
            ..Default::default()
        };
        Ok((model, Scheme::from(scheme)))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let mut map = sizes::write(plan, "hidden_act");
        let d = plan.dims();
        if d.head * d.heads == d.model {
            map.remove("head_dim");
        }
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
            &OUTPUT_NORMS,
        ]
        .concat()
    }
}
