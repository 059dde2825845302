//! Llama 2 and 3: pre-norm without q/k norm, optional biases.

use super::{DefaultEnds, Peer, sizes};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::rows::Row;
use evenburn_model::strategy::{PreNorm, QkNorm};
use evenburn_model::{Biases, ModelConfig, Plan, Scheme, Site};
use serde_json::{Map, Value, json};

pub(super) struct Llama;

impl Peer for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn class(&self) -> &'static str {
        "LlamaForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        let biases = match (
            config.flag("attention_bias", false)?,
            config.flag("mlp_bias", false)?,
        ) {
            (false, false) => Biases::None,
            (true, false) => Biases::Attention,
            (true, true) => Biases::All,
            (false, true) => {
                return Err(
                    config.inexpressible("mlp_bias", "attention has biases too, or none has")
                );
            }
        };
        let model = ModelConfig {
            biases,
            ..sizes::read(config, &sizes::LLAMA, "hidden_act")?
        };
        let scheme = PreNorm {
            qk: QkNorm::None,
            eps: config.number("rms_norm_eps", sizes::LLAMA.eps)?,
            ..PreNorm::default()
        };
        Ok((model, Scheme::from(scheme)))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let mut map = sizes::write(plan, "hidden_act");
        let mlp = sizes::biased(plan, &[Site::Gate, Site::Up, Site::Down]);
        let attention = sizes::biased(plan, &[Site::Q, Site::K, Site::V, Site::O]);
        // Biases that the model lacks are written as zeros.
        map.insert("attention_bias".into(), json!(attention || mlp));
        map.insert("mlp_bias".into(), json!(mlp));
        map
    }

    fn ends(&self) -> DefaultEnds {
        sizes::LLAMA.ends
    }

    fn rows(&self) -> Vec<Row> {
        [
            &sizes::ENDS[..],
            &sizes::ATTENTION,
            &sizes::MLP,
            &sizes::INPUT_NORMS,
        ]
        .concat()
    }
}
