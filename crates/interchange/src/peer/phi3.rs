//! Phi-3 and Phi-4-mini with plain frequencies: Llama with a part of each head turned and matrices side by side.

use super::sizes::{self, Defaults, Rotation};
use super::{DefaultEnds, Peer};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::{Row, out_in};
use evenburn_model::strategy::{PreNorm, QkNorm};
use evenburn_model::{ModelConfig, Plan, Scheme};
use serde_json::{Map, Value};

pub(super) struct Phi3;

/// Of `Phi3Config`.
const DEFAULTS: Defaults = Defaults {
    vocab: 32_064,
    dim: 3072,
    hidden: 8192,
    rotation: Rotation {
        part: Some((sizes::PART, 1.0)),
        ..sizes::WHOLE_HEADS
    },
    context: 4096,
    eps: 1e-5,
    ends: DefaultEnds {
        bos: Some(1),
        eos: Some(32_000),
        pad: Some(32_000),
    },
    ..sizes::LLAMA
};

const MAPS: [Row; 4] = [
    out_in(
        "model.layers.{}.self_attn.qkv_proj.weight",
        &[
            "blocks.{}.attn.q.weight",
            "blocks.{}.attn.k.weight",
            "blocks.{}.attn.v.weight",
        ],
    ),
    out_in(
        "model.layers.{}.self_attn.o_proj.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    out_in(
        "model.layers.{}.mlp.gate_up_proj.weight",
        &["blocks.{}.mlp.gate.weight", "blocks.{}.mlp.up.weight"],
    ),
    out_in(
        "model.layers.{}.mlp.down_proj.weight",
        &["blocks.{}.mlp.down.weight"],
    ),
];

impl Peer for Phi3 {
    fn name(&self) -> &'static str {
        "phi3"
    }

    fn class(&self) -> &'static str {
        "Phi3ForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        let model = sizes::read(config, &DEFAULTS, "hidden_act")?;
        sizes::no_window(config, &model, None)?;
        let scheme = PreNorm {
            qk: QkNorm::None,
            eps: config.number("rms_norm_eps", DEFAULTS.eps)?,
            ..PreNorm::default()
        };
        Ok((model, Scheme::from(scheme)))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let mut map = sizes::write(plan, "hidden_act");
        sizes::write_part(&mut map, plan, sizes::PART);
        map
    }

    fn ends(&self) -> DefaultEnds {
        DEFAULTS.ends
    }

    fn rows(&self) -> Vec<Row> {
        [&sizes::ENDS[..], &MAPS, &sizes::INPUT_NORMS].concat()
    }
}
