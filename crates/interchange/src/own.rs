//! A plan that no class of `transformers` computes: its description beside code that computes any plan.

use crate::error::InterchangeError;
use crate::layout::transposed;
use burn::tensor::TensorData;
use evenburn_model::{Kinds, Plan, PlanError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The class in [`CODE`].
pub(crate) const CLASS: &str = "EvenburnForCausalLM";
/// Name of the module in [`CODE`].
pub(crate) const MODULE: &str = "modeling_evenburn";
/// The module: it reads a plan and computes it.
pub(crate) const CODE: &str = include_str!("modeling_evenburn.py");

/// The configuration that `transformers` reads, with the whole plan in it.
pub(crate) fn config(plan: &Plan) -> Result<Map<String, Value>, InterchangeError> {
    built_in(plan)?;
    let d = plan.dims();
    let described = serde_json::to_value(plan)
        .map_err(|e| InterchangeError::malformed(std::path::Path::new("plan"), e.to_string()))?;
    let written = json!({
        "model_type": "evenburn",
        "auto_map": {
            "AutoConfig": format!("{MODULE}.EvenburnConfig"),
            "AutoModelForCausalLM": format!("{MODULE}.{CLASS}"),
        },
        "vocab_size": d.vocab,
        "hidden_size": d.model,
        "num_hidden_layers": d.layers,
        "num_attention_heads": d.heads,
        "num_key_value_heads": d.kv_heads,
        "max_position_embeddings": d.context,
        "tie_word_embeddings": plan.head.is_none(),
        "plan": described,
    });
    Ok(match written {
        Value::Object(map) => map,
        _ => Map::new(),
    })
}

/// Refuses functions and rules that a program brings along: the module has what is built in.
fn built_in(plan: &Plan) -> Result<(), InterchangeError> {
    let known = Kinds::default().resolve(&mut plan.clone());
    known.map_err(|error| InterchangeError::OtherFunction {
        class: CLASS,
        reasons: vec![match error {
            PlanError::Unknown {
                place, what, name, ..
            } => format!("the {what} `{name}` at {place} is not one that it has"),
            other => other.to_string(),
        }],
    })
}

/// Tensors under our paths, with the matrices of linear maps as PyTorch has them, `[out, in]`.
pub(crate) fn tensors(ours: BTreeMap<String, TensorData>) -> BTreeMap<String, TensorData> {
    let is_table = |path: &str| path == "embed.weight" || path == "embed.positions";
    ours.into_iter()
        .map(|(path, data)| {
            let data = if is_table(&path) {
                data
            } else {
                transposed(data)
            };
            (path, data)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Tensor;
    use evenburn_model::modules::Arrays;
    use evenburn_model::plan::MixPlan;
    use evenburn_model::rule::MixRule;
    use evenburn_model::{ModelConfig, Recorded, Scheme};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Half {}

    impl Recorded for Half {
        const NAME: &'static str = "half";
        const ABOUT: &'static str = "Takes half of the branch.";
    }

    impl MixRule for Half {
        fn describe(&self) -> String {
            "h + x / 2".to_owned()
        }

        fn forward(&self, h: Tensor<3>, x: Tensor<3>, _: &Arrays) -> Tensor<3> {
            h + x.mul_scalar(0.5)
        }
    }

    #[test]
    fn what_a_program_brings_along_is_refused_by_name() {
        let scheme = Scheme::default();
        let mut plan = scheme.plan(&ModelConfig::default()).unwrap();
        config(&plan).unwrap();
        let rule = Half {}.into();
        plan.layers[1].mlp_residual.mix = MixPlan::Rule { rule };
        let refused = config(&plan).unwrap_err().to_string();
        for part in [CLASS, "residual rule `half`", "blocks.1.mlp_residual.mix"] {
            assert!(refused.contains(part), "{refused}");
        }
    }

    /// The names in the module are those of what is built in.
    #[test]
    fn the_module_has_what_is_built_in() {
        let known = Kinds::default();
        for (name, _) in known.functions().chain(known.rules()) {
            assert!(CODE.contains(&format!("\"{name}\"")), "{name}");
        }
    }
}
