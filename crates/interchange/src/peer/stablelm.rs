//! `StableLM` where one branch reads what the other has added and q and k have no norm: pre-norm with LayerNorm, a part of
//! each head turned, a gated MLP.

use super::sizes::{self, Defaults, Rotation};
use super::{DefaultEnds, PARALLEL, Peer};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::Row;
use evenburn_model::strategy::{Bias, PreNorm, QkNorm, Statistics};
use evenburn_model::{Biases, ModelConfig, Plan, Scheme, Site};
use serde_json::{Map, Value, json};

pub(super) struct StableLm;

/// Of `StableLmConfig`.
const DEFAULTS: Defaults = Defaults {
    vocab: 50_304,
    dim: 2560,
    hidden: 6912,
    kv_heads: Some(32),
    rotation: Rotation {
        part: Some((sizes::PART, 0.25)),
        ..sizes::WHOLE_HEADS
    },
    context: 4096,
    eps: 1e-5,
    ends: DefaultEnds {
        bos: Some(0),
        eos: Some(0),
        pad: None,
    },
    ..sizes::LLAMA
};

const EPS: &str = "layer_norm_eps";

impl Peer for StableLm {
    fn name(&self) -> &'static str {
        "stablelm"
    }

    fn class(&self) -> &'static str {
        "StableLmForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        config.refuse("use_parallel_residual", |v| *v == json!(false), PARALLEL)?;
        config.refuse(
            "qk_layernorm",
            |v| *v == json!(false),
            "the norm of q and k has one gain for all heads, and there each head has its own",
        )?;
        let sizes = sizes::read(config, &DEFAULTS, "hidden_act")?;
        sizes::head_of_heads(config, &sizes)?;
        let model = ModelConfig {
            biases: if config.flag("use_qkv_bias", false)? {
                Biases::Qkv
            } else {
                Biases::None
            },
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
        let mut map = sizes::write(plan, "hidden_act");
        for key in ["head_dim", "rms_norm_eps"] {
            map.remove(key);
        }
        map.insert(EPS.into(), json!(sizes::eps(plan)));
        sizes::write_part(&mut map, plan, sizes::PART);
        let biased = sizes::biased(plan, &[Site::Q, Site::K, Site::V]);
        map.insert("use_qkv_bias".into(), json!(biased));
        map.insert("use_parallel_residual".into(), json!(false));
        map.insert("qk_layernorm".into(), json!(false));
        map
    }

    fn ends(&self) -> DefaultEnds {
        DEFAULTS.ends
    }

    fn rows(&self) -> Vec<Row> {
        [
            &sizes::ENDS[..],
            &sizes::ATTENTION,
            &sizes::MLP,
            &sizes::INPUT_NORMS,
            &sizes::NORM_BIASES,
        ]
        .concat()
    }
}
