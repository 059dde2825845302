//! Qwen3-MoE: Qwen3 with a mixture of experts in place of each MLP.

use super::sizes::Defaults;
use super::{DefaultEnds, Peer, mixtral, qwen3, sizes};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::fused;
use crate::rows::{Row, out_in};
use evenburn_model::{Kept, ModelConfig, Plan, Scheme, Site};
use serde_json::{Map, Value, json};

pub(super) struct Qwen3Moe;

/// Of `Qwen3MoeConfig`.
const DEFAULTS: Defaults = Defaults {
    vocab: 151_936,
    dim: 2048,
    hidden: 6144,
    layers: 24,
    kv_heads: Some(4),
    context: 32_768,
    ends: DefaultEnds::NONE,
    ..sizes::LLAMA
};

/// `num_experts`, `num_experts_per_tok`, `moe_intermediate_size` and `router_aux_loss_coef` where the file leaves them
/// out.
const EXPERTS: usize = 128;
const CHOSEN: usize = 8;
const HIDDEN: usize = 768;
const BALANCE: f64 = 0.001;

const NETWORKS: [Row; 4] = [
    out_in(
        "model.layers.{}.mlp.gate.weight",
        &["blocks.{}.moe.router.weight"],
    ),
    out_in(
        "model.layers.{}.mlp.experts.{e}.gate_proj.weight",
        &["blocks.{}.moe.experts.{e}.gate.weight"],
    ),
    out_in(
        "model.layers.{}.mlp.experts.{e}.up_proj.weight",
        &["blocks.{}.moe.experts.{e}.up.weight"],
    ),
    out_in(
        "model.layers.{}.mlp.experts.{e}.down_proj.weight",
        &["blocks.{}.moe.experts.{e}.down.weight"],
    ),
];

impl Peer for Qwen3Moe {
    fn name(&self) -> &'static str {
        "qwen3_moe"
    }

    fn class(&self) -> &'static str {
        "Qwen3MoeForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        const EVERY: &str = "every block has experts, or none has";
        let one = |v: &Value| v.as_u64() == Some(1);
        config.refuse("decoder_sparse_step", one, EVERY)?;
        let none = |v: &Value| v.as_array().is_some_and(Vec::is_empty);
        config.refuse("mlp_only_layers", none, EVERY)?;
        let kept = if config.flag("norm_topk_prob", false)? {
            Kept::Renormalized
        } else {
            Kept::AsIs
        };
        let model = ModelConfig {
            hidden: Some(config.size_or("moe_intermediate_size", HIDDEN)?),
            biases: qwen3::biases(config)?,
            experts: mixtral::experts(
                config.size_or("num_experts", EXPERTS)?,
                config.size_or("num_experts_per_tok", CHOSEN)?,
                kept,
                config.number("router_aux_loss_coef", BALANCE)?,
            ),
            ..sizes::read(config, &DEFAULTS, "hidden_act")?
        };
        if config.flag("use_sliding_window", false)? {
            sizes::no_window(config, &model, Some(qwen3::WINDOW))?;
        }
        Ok((model, qwen3::scheme(config)?))
    }

    fn write(&self, plan: &Plan) -> Map<String, Value> {
        let mut map = sizes::write(plan, "hidden_act");
        let (d, experts) = (plan.dims(), &plan.dims().experts);
        let attention = sizes::biased(plan, &[Site::Q, Site::K, Site::V, Site::O]);
        map.insert("attention_bias".into(), json!(attention));
        map.insert("moe_intermediate_size".into(), json!(d.hidden));
        map.insert("num_experts".into(), json!(experts.count));
        map.insert("num_experts_per_tok".into(), json!(experts.top_k));
        map.insert(
            "norm_topk_prob".into(),
            json!(experts.kept == Kept::Renormalized),
        );
        map.insert("router_aux_loss_coef".into(), json!(experts.balance_coef));
        map.insert("decoder_sparse_step".into(), json!(1));
        map.insert("mlp_only_layers".into(), json!([]));
        map
    }

    fn ends(&self) -> DefaultEnds {
        DEFAULTS.ends
    }

    fn second_names(&self) -> &'static [(&'static str, &'static str)] {
        &[("num_local_experts", "num_experts")]
    }

    fn experts(&self) -> Option<fused::Names> {
        Some(fused::Names {
            module: "mlp",
            gate: "gate_proj",
            up: "up_proj",
            down: "down_proj",
        })
    }

    fn rows(&self) -> Vec<Row> {
        [
            &sizes::ENDS[..],
            &sizes::ATTENTION,
            &sizes::QK_NORM,
            &sizes::INPUT_NORMS,
            &NETWORKS,
        ]
        .concat()
    }
}
