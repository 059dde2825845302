//! GPT-2: pre-norm with LayerNorm, learned positions, a plain MLP, biases everywhere.

use super::sizes::{self, PLAIN};
use super::{DefaultEnds, Peer};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::{Row, out_in, same};
use evenburn_model::strategy::{Bias, PreNorm, QkNorm, Statistics, WeightInit};
use evenburn_model::{Biases, HeadWeights, ModelConfig, Plan, Positions, Scheme};
use serde_json::{Map, Value, json};

pub(super) struct Gpt2;

/// Of `GPT2Config`: `vocab_size`, `n_embd`, `n_layer`, `n_head`, `n_positions`, `layer_norm_epsilon`,
/// `activation_function`, `resid_pdrop`, and the id of `<|endoftext|>` at both ends.
const VOCABULARY: usize = 50_257;
const DIM: usize = 768;
const LAYERS: usize = 12;
const HEADS: usize = 12;
const CONTEXT: usize = 1024;
const EPS: f64 = 1e-5;
const ACTIVATION: &str = "gelu_new";
const DROPOUT: f64 = 0.1;
const END: u32 = 50_256;

const ROWS: [Row; 17] = [
    same("transformer.wte.weight", &["embed.weight"]),
    same("transformer.wpe.weight", &["embed.positions"]),
    same(
        "transformer.h.{}.ln_1.weight",
        &["blocks.{}.attn_residual.input.gain.value"],
    ),
    same(
        "transformer.h.{}.ln_1.bias",
        &["blocks.{}.attn_residual.input.bias"],
    ),
    // Its linear layers are stored `[in, out]`, q, k and v side by side.
    same(
        "transformer.h.{}.attn.c_attn.weight",
        &[
            "blocks.{}.attn.q.weight",
            "blocks.{}.attn.k.weight",
            "blocks.{}.attn.v.weight",
        ],
    ),
    same(
        "transformer.h.{}.attn.c_attn.bias",
        &[
            "blocks.{}.attn.q.bias",
            "blocks.{}.attn.k.bias",
            "blocks.{}.attn.v.bias",
        ],
    ),
    same(
        "transformer.h.{}.attn.c_proj.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    same(
        "transformer.h.{}.attn.c_proj.bias",
        &["blocks.{}.attn.o.bias"],
    ),
    same(
        "transformer.h.{}.ln_2.weight",
        &["blocks.{}.mlp_residual.input.gain.value"],
    ),
    same(
        "transformer.h.{}.ln_2.bias",
        &["blocks.{}.mlp_residual.input.bias"],
    ),
    same(
        "transformer.h.{}.mlp.c_fc.weight",
        &["blocks.{}.mlp.up.weight"],
    ),
    same("transformer.h.{}.mlp.c_fc.bias", &["blocks.{}.mlp.up.bias"]),
    same(
        "transformer.h.{}.mlp.c_proj.weight",
        &["blocks.{}.mlp.down.weight"],
    ),
    same(
        "transformer.h.{}.mlp.c_proj.bias",
        &["blocks.{}.mlp.down.bias"],
    ),
    same("transformer.ln_f.weight", &["final_norm.gain.value"]),
    same("transformer.ln_f.bias", &["final_norm.bias"]),
    out_in("lm_head.weight", &["head.weight"]),
];

impl Peer for Gpt2 {
    fn name(&self) -> &'static str {
        "gpt2"
    }

    fn class(&self) -> &'static str {
        "GPT2LMHeadModel"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        const WHY: &str = "scores are divided by the square root of the head's width alone";
        config.refuse("scale_attn_weights", |v| *v == json!(true), WHY)?;
        config.refuse(
            "scale_attn_by_inverse_layer_idx",
            |v| *v == json!(false),
            WHY,
        )?;
        config.refuse(
            "add_cross_attention",
            |v| *v == json!(false),
            "a decoder attends to itself",
        )?;
        let dim = config.size_or("n_embd", DIM)?;
        let model = ModelConfig {
            vocab_size: config.size_or("vocab_size", VOCABULARY)?,
            dim,
            layers: config.size_or("n_layer", LAYERS)?,
            heads: config.size_or("n_head", HEADS)?,
            hidden: Some(config.size_or("n_inner", 4 * dim)?),
            context: config.size_or("n_positions", CONTEXT)?,
            head: if config.flag("tie_word_embeddings", true)? {
                HeadWeights::Tied
            } else {
                HeadWeights::Untied
            },
            positions: Positions::Learned,
            mlp: PLAIN.read(config, "activation_function", ACTIVATION)?,
            biases: Biases::All,
            dropout: config.number("resid_pdrop", DROPOUT)?,
            ..ModelConfig::default()
        };
        let scheme = PreNorm {
            qk: QkNorm::None,
            norm: Statistics::Layer,
            bias: Bias::Learned,
            eps: config.number("layer_norm_epsilon", EPS)?,
            start: WeightInit::Gpt2,
            ..PreNorm::default()
        };
        Ok((model, Scheme::from(scheme)))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let d = plan.dims();
        let eps = sizes::eps(plan);
        let written = json!({
            "vocab_size": d.vocab,
            "n_embd": d.model,
            "n_layer": d.layers,
            "n_head": d.heads,
            "n_inner": d.hidden,
            "n_positions": d.context,
            "layer_norm_epsilon": eps,
            "activation_function": PLAIN.name(d.mlp),
            "tie_word_embeddings": plan.head.is_none(),
            "resid_pdrop": d.dropout,
            "embd_pdrop": d.dropout,
            "attn_pdrop": d.dropout,
        });
        match written {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn ends(&self) -> DefaultEnds {
        DefaultEnds {
            bos: Some(END),
            eos: Some(END),
            pad: None,
        }
    }

    fn second_names(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("hidden_size", "n_embd"),
            ("max_position_embeddings", "n_positions"),
            ("num_attention_heads", "n_head"),
            ("num_hidden_layers", "n_layer"),
        ]
    }

    fn buffers(&self) -> &'static [&'static str] {
        &[".attn.bias", ".attn.masked_bias"]
    }

    fn prefix(&self) -> &'static str {
        "transformer."
    }

    fn rows(&self) -> Vec<Row> {
        ROWS.to_vec()
    }
}
