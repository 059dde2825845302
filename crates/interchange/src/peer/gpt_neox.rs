//! GPT-NeoX and Pythia where one branch reads what the other has added: pre-norm with LayerNorm, a part of each head turned,
//! a plain MLP, biases everywhere.

use super::sizes::{self, Defaults, PLAIN, Rotation};
use super::{DefaultEnds, PARALLEL, Peer};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::{Row, head_by_head, out_in, same};
use evenburn_model::strategy::{Bias, PreNorm, QkNorm, Statistics};
use evenburn_model::{Biases, ModelConfig, Plan, Scheme};
use serde_json::{Map, Value, json};

pub(super) struct GptNeoX;

/// Of `GPTNeoXConfig`.
const DEFAULTS: Defaults = Defaults {
    vocab: 50_432,
    dim: 6144,
    hidden: 24_576,
    layers: 44,
    heads: 64,
    rotation: Rotation {
        theta: "rotary_emb_base",
        part: Some((PART, 0.25)),
    },
    activation: "gelu",
    activations: &PLAIN,
    eps: 1e-5,
    ends: DefaultEnds {
        bos: Some(0),
        eos: Some(2),
        pad: None,
    },
    ..sizes::LLAMA
};

const PART: &str = "rotary_pct";
const EPS: &str = "layer_norm_eps";

const ROWS: [Row; 15] = [
    same("gpt_neox.embed_in.weight", &["embed.weight"]),
    same(
        "gpt_neox.layers.{}.input_layernorm.weight",
        &["blocks.{}.attn_residual.input.gain.value"],
    ),
    same(
        "gpt_neox.layers.{}.input_layernorm.bias",
        &["blocks.{}.attn_residual.input.bias"],
    ),
    head_by_head(
        "gpt_neox.layers.{}.attention.query_key_value.weight",
        &[
            "blocks.{}.attn.q.weight",
            "blocks.{}.attn.k.weight",
            "blocks.{}.attn.v.weight",
        ],
    ),
    head_by_head(
        "gpt_neox.layers.{}.attention.query_key_value.bias",
        &[
            "blocks.{}.attn.q.bias",
            "blocks.{}.attn.k.bias",
            "blocks.{}.attn.v.bias",
        ],
    ),
    out_in(
        "gpt_neox.layers.{}.attention.dense.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    same(
        "gpt_neox.layers.{}.attention.dense.bias",
        &["blocks.{}.attn.o.bias"],
    ),
    same(
        "gpt_neox.layers.{}.post_attention_layernorm.weight",
        &["blocks.{}.mlp_residual.input.gain.value"],
    ),
    same(
        "gpt_neox.layers.{}.post_attention_layernorm.bias",
        &["blocks.{}.mlp_residual.input.bias"],
    ),
    out_in(
        "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight",
        &["blocks.{}.mlp.up.weight"],
    ),
    same(
        "gpt_neox.layers.{}.mlp.dense_h_to_4h.bias",
        &["blocks.{}.mlp.up.bias"],
    ),
    out_in(
        "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight",
        &["blocks.{}.mlp.down.weight"],
    ),
    same(
        "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias",
        &["blocks.{}.mlp.down.bias"],
    ),
    same(
        "gpt_neox.final_layer_norm.weight",
        &["final_norm.gain.value"],
    ),
    same("gpt_neox.final_layer_norm.bias", &["final_norm.bias"]),
];

impl Peer for GptNeoX {
    fn name(&self) -> &'static str {
        "gpt_neox"
    }

    fn class(&self) -> &'static str {
        "GPTNeoXForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        if config.flag("use_parallel_residual", true)? {
            return Err(config.inexpressible("use_parallel_residual", PARALLEL));
        }
        if !config.flag("attention_bias", true)? {
            let why = "the MLP has biases there, and either all maps have them or none of the MLP";
            return Err(config.inexpressible("attention_bias", why));
        }
        let sizes = sizes::read(config, &DEFAULTS, "hidden_act")?;
        sizes::head_of_heads(config, &sizes)?;
        let model = ModelConfig {
            // The class has no such key.
            kv_heads: None,
            biases: Biases::All,
            dropout: config.number("hidden_dropout", 0.0)?,
            ..sizes
        };
        let scheme = PreNorm {
            qk: QkNorm::None,
            norm: Statistics::Layer,
            bias: Bias::Learned,
            eps: config.number(EPS, DEFAULTS.eps)?,
            ..PreNorm::default()
        };
        Ok((model, Scheme::from(scheme)))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let d = plan.dims();
        let mut map = sizes::write(plan, "hidden_act");
        for key in [
            "num_key_value_heads",
            "head_dim",
            "rms_norm_eps",
            "rope_theta",
        ] {
            map.remove(key);
        }
        map.insert("hidden_act".into(), json!(PLAIN.name(d.mlp)));
        map.insert(EPS.into(), json!(sizes::eps(plan)));
        map.insert(DEFAULTS.rotation.theta.into(), json!(d.rope_theta));
        sizes::write_part(&mut map, plan, PART);
        for key in ["hidden_dropout", "attention_dropout"] {
            map.insert(key.into(), json!(d.dropout));
        }
        map.insert("attention_bias".into(), json!(true));
        map.insert("use_parallel_residual".into(), json!(false));
        map
    }

    fn ends(&self) -> DefaultEnds {
        DEFAULTS.ends
    }

    fn buffers(&self) -> &'static [&'static str] {
        &[
            ".attention.bias",
            ".attention.masked_bias",
            "rotary_emb.inv_freq",
        ]
    }

    fn output(&self) -> &'static str {
        "embed_out.weight"
    }

    fn prefix(&self) -> &'static str {
        "gpt_neox."
    }

    fn rows(&self) -> Vec<Row> {
        let output = out_in(self.output(), &["head.weight"]);
        ROWS.into_iter().chain([output]).collect()
    }
}
