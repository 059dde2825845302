//! A plan that no class of `transformers` computes: its description beside code that computes any plan.

use crate::error::InterchangeError;
use crate::layout::transposed;
use burn::tensor::TensorData;
use evenburn_model::plan::{MixPlan, NormPlan, Spot, Visit};
use evenburn_model::{Kinds, Plan};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The class in [`CODE`].
pub(crate) const CLASS: &str = "EvenburnForCausalLM";
/// Name of the module in [`CODE`].
pub(crate) const MODULE: &str = "modeling_evenburn";
/// The module: it reads a plan and computes it.
pub(crate) const CODE: &str = include_str!("modeling_evenburn.py");

/// Refuses what the module doesn't compute: the functions and rules of other programs.
pub(crate) fn check(plan: &Plan) -> Result<(), InterchangeError> {
    struct Foreign {
        known: Kinds,
        reasons: Vec<String>,
    }
    impl Foreign {
        fn note(&mut self, at: &Spot, what: &str, name: &str, known: bool) {
            if !known {
                let place = &at.param;
                let reason =
                    format!("{place}: the {what} `{name}`, which {MODULE}.py doesn't know");
                self.reasons.push(reason);
            }
        }
    }
    impl Visit for Foreign {
        fn norm(&mut self, at: &Spot, plan: &NormPlan) {
            let name = plan.function.name();
            let known = self.known.functions().any(|(known, _)| known == name);
            self.note(at, "normalization function", name, known);
        }
        fn mix(&mut self, at: &Spot, plan: &MixPlan) {
            if let MixPlan::Rule { rule } = plan {
                let known = self.known.rules().any(|(known, _)| known == rule.name());
                self.note(at, "residual rule", rule.name(), known);
            }
        }
    }
    let mut foreign = Foreign {
        known: Kinds::default(),
        reasons: Vec::new(),
    };
    plan.visit(&mut foreign);
    match foreign.reasons.is_empty() {
        true => Ok(()),
        false => Err(InterchangeError::OtherFunction {
            class: CLASS,
            reasons: foreign.reasons,
        }),
    }
}

/// The configuration that `transformers` reads, with the whole plan in it.
pub(crate) fn config(plan: &Plan) -> Result<Map<String, Value>, InterchangeError> {
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

    #[test]
    fn the_module_knows_every_function_and_rule_of_this_project() {
        let known = Kinds::default();
        for (name, _) in known.functions().chain(known.rules()) {
            assert!(CODE.contains(&format!("case \"{name}\":")), "{name}");
        }
    }
}
