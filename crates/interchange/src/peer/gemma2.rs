//! Gemma 2 without its caps on scores and logits: norms on both sides of each branch, gains stored less 1.

use super::sizes::Defaults;
use super::{DefaultEnds, Peer, sizes};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::{Row, less_one};
use evenburn_model::strategy::{EmbedNorm, EmbedScale, GainForm, PeriNorm, QkNorm};
use evenburn_model::{Biases, ModelConfig, Plan, Scheme, Site};
use serde_json::{Map, Value, json};

pub(super) struct Gemma2;

/// Of `Gemma2Config`.
const DEFAULTS: Defaults = Defaults {
    vocab: 256_000,
    dim: 2304,
    hidden: 9216,
    layers: 26,
    heads: 8,
    kv_heads: Some(4),
    head_dim: Some(256),
    tied: true,
    context: 8192,
    activation: "gelu_pytorch_tanh",
    ends: DefaultEnds {
        bos: Some(2),
        eos: Some(1),
        pad: Some(0),
    },
    ..sizes::LLAMA
};

/// `query_pre_attn_scalar` and `sliding_window` where the file leaves them out.
const SCORE_WIDTH: f64 = 256.0;
const WINDOW: usize = 4096;

const ACTIVATION: &str = "hidden_activation";

const NORMS: [Row; 5] = [
    less_one("model.norm.weight", &["final_norm.gain.value"]),
    less_one(
        "model.layers.{}.input_layernorm.weight",
        &["blocks.{}.attn_residual.input.gain.value"],
    ),
    less_one(
        "model.layers.{}.post_attention_layernorm.weight",
        &["blocks.{}.attn_residual.output.gain.value"],
    ),
    less_one(
        "model.layers.{}.pre_feedforward_layernorm.weight",
        &["blocks.{}.mlp_residual.input.gain.value"],
    ),
    less_one(
        "model.layers.{}.post_feedforward_layernorm.weight",
        &["blocks.{}.mlp_residual.output.gain.value"],
    ),
];

impl Peer for Gemma2 {
    fn name(&self) -> &'static str {
        "gemma2"
    }

    fn class(&self) -> &'static str {
        "Gemma2ForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
            // Left out, both have a value.
            if !config.is_null(key) {
                return Err(config.inexpressible(key, "scores and logits are not capped"));
            }
        }
        let model = ModelConfig {
            biases: if config.flag("attention_bias", false)? {
                Biases::Attention
            } else {
                Biases::None
            },
            ..sizes::read(config, &DEFAULTS, ACTIVATION)?
        };
        // Every other layer has a window, beginning with the first.
        sizes::no_window_in_some(config, &model, Some(WINDOW), |layer| layer % 2 == 0)?;
        let no = |v: &Value| *v == json!(false);
        config.refuse("use_bidirectional_attention", no, "attention is causal")?;
        let width = config.number("query_pre_attn_scalar", SCORE_WIDTH)?;
        if model
            .head_dim
            .is_none_or(|head| (width - head as f64).abs() > 1e-9)
        {
            let why = "scores are divided by the square root of the head's width";
            return Err(config.inexpressible("query_pre_attn_scalar", why));
        }
        let scheme = PeriNorm {
            qk: QkNorm::None,
            embed_norm: EmbedNorm::None,
            embed_scale: EmbedScale::SqrtDim,
            gain: GainForm::OnePlus,
            eps: config.number("rms_norm_eps", DEFAULTS.eps)?,
            ..PeriNorm::default()
        };
        Ok((model, Scheme::from(scheme)))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let mut map = sizes::write(plan, ACTIVATION);
        let d = plan.dims();
        let attention = sizes::biased(plan, &[Site::Q, Site::K, Site::V, Site::O]);
        map.insert("attention_bias".into(), json!(attention));
        map.insert("query_pre_attn_scalar".into(), json!(d.head));
        map.insert("attn_logit_softcapping".into(), Value::Null);
        map.insert("final_logit_softcapping".into(), Value::Null);
        // The class has one; as wide as the context it hides nothing.
        map.insert("sliding_window".into(), json!(d.context));
        map
    }

    fn ends(&self) -> DefaultEnds {
        DEFAULTS.ends
    }

    fn rows(&self) -> Vec<Row> {
        let [embedding, _, head] = sizes::ENDS;
        [
            &[embedding, head],
            &sizes::ATTENTION[..],
            &sizes::MLP,
            &NORMS,
        ]
        .concat()
    }
}
