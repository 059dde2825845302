//! Mixtral: Llama with a mixture of experts in place of each MLP.

use super::sizes::Defaults;
use super::{DefaultEnds, Peer, sizes};
use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::fused;
use crate::rows::{Row, out_in};
use evenburn_model::strategy::{PreNorm, QkNorm};
use evenburn_model::{Balance, ExpertsConfig, Gates, Kept, ModelConfig, Plan, Scheme};
use serde_json::{Map, Value, json};

pub(super) struct Mixtral;

/// Of `MixtralConfig`.
const DEFAULTS: Defaults = Defaults {
    hidden: 14_336,
    kv_heads: Some(8),
    theta: 1_000_000.0,
    context: 131_072,
    eps: 1e-5,
    ..sizes::LLAMA
};

/// `num_local_experts`, `num_experts_per_tok` and `router_aux_loss_coef` where the file leaves them out.
const EXPERTS: usize = 8;
const CHOSEN: usize = 2;
const BALANCE: f64 = 0.001;

const NETWORKS: [Row; 4] = [
    out_in(
        "model.layers.{}.block_sparse_moe.gate.weight",
        &["blocks.{}.moe.router.weight"],
    ),
    out_in(
        "model.layers.{}.block_sparse_moe.experts.{e}.w1.weight",
        &["blocks.{}.moe.experts.{e}.gate.weight"],
    ),
    out_in(
        "model.layers.{}.block_sparse_moe.experts.{e}.w3.weight",
        &["blocks.{}.moe.experts.{e}.up.weight"],
    ),
    out_in(
        "model.layers.{}.block_sparse_moe.experts.{e}.w2.weight",
        &["blocks.{}.moe.experts.{e}.down.weight"],
    ),
];

/// A softmax over all experts and the auxiliary loss over all blocks: what the classes of `transformers` have in common.
pub(super) fn experts(count: usize, top_k: usize, kept: Kept, balance_coef: f64) -> ExpertsConfig {
    ExpertsConfig {
        count,
        top_k,
        shared: 0,
        gates: Gates::Softmax,
        kept,
        scale: 1.0,
        balance: Balance::PooledLoss,
        balance_coef,
        z_coef: 0.0,
        ..ExpertsConfig::default()
    }
}

impl Peer for Mixtral {
    fn name(&self) -> &'static str {
        "mixtral"
    }

    fn class(&self) -> &'static str {
        "MixtralForCausalLM"
    }

    fn read(&self, config: &Fields) -> Result<(ModelConfig, Scheme), InterchangeError> {
        let model = ModelConfig {
            experts: experts(
                config.size_or("num_local_experts", EXPERTS)?,
                config.size_or("num_experts_per_tok", CHOSEN)?,
                Kept::Renormalized,
                config.number("router_aux_loss_coef", BALANCE)?,
            ),
            ..sizes::read(config, &DEFAULTS, "hidden_act")?
        };
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
        let experts = &plan.dims().experts;
        map.insert("num_local_experts".into(), json!(experts.count));
        map.insert("num_experts_per_tok".into(), json!(experts.top_k));
        map.insert("router_aux_loss_coef".into(), json!(experts.balance_coef));
        map.insert("sliding_window".into(), Value::Null);
        map
    }

    fn ends(&self) -> DefaultEnds {
        DEFAULTS.ends
    }

    fn second_names(&self) -> &'static [(&'static str, &'static str)] {
        &[("num_experts", "num_local_experts")]
    }

    fn experts(&self) -> Option<fused::Names> {
        Some(fused::Names {
            module: "block_sparse_moe",
            gate: "w1",
            up: "w3",
            down: "w2",
        })
    }

    fn rows(&self) -> Vec<Row> {
        [
            &sizes::ENDS[..],
            &sizes::ATTENTION,
            &sizes::INPUT_NORMS,
            &NETWORKS,
        ]
        .concat()
    }
}
