//! Whether two plans compute the same function of the same parameters.

use evenburn_model::Plan;
use serde_json::{Map, Value, json};

/// Where two plans differ as functions, ours first; empty where they don't.
///
/// Left out is what only training reads: initial weights, constraints, decay, dropout, balancing losses. A gain or a bias
/// that ours lacks is no difference: it is written as ones or zeros.
pub(crate) fn differences(ours: &Plan, theirs: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    compare("", &function(ours), &function(theirs), &mut found);
    found
}

/// A plan as data, with what makes no difference to the function taken out.
fn function(plan: &Plan) -> Value {
    let mut value = neutral(serde_json::to_value(plan).unwrap_or_default());
    for table in ["positions", "head"] {
        if let Some(weight) = value.get_mut(table) {
            *weight = json!("a matrix");
        }
    }
    let dense = plan.dims().experts.is_dense();
    if let Some(dims) = value.get_mut("dims").and_then(Value::as_object_mut) {
        // Which channels make a pair is a permutation of the columns of q and k.
        if dims.get("positions") == Some(&json!("rope")) {
            dims.insert("positions".to_owned(), json!("rope_halves"));
        }
        match dims.get_mut("experts").and_then(Value::as_object_mut) {
            Some(experts) if !dense => {
                if experts.get("balance") != Some(&json!("bias")) {
                    experts.remove("balance");
                }
            }
            _ => {
                dims.remove("experts");
            }
        }
    }
    let layers = value.get_mut("layers").and_then(Value::as_array_mut);
    for layer in layers.into_iter().flatten() {
        // One network has nothing to combine.
        if dense && let Some(mlp) = layer.get_mut("mlp").and_then(Value::as_object_mut) {
            mlp.remove("combine");
        }
    }
    value
}

/// Keys that only training reads.
const TRAINING: [&str; 9] = [
    "scheme",
    "options",
    "embedding",
    "weight",
    "decay",
    "dropout",
    "balance_coef",
    "bias_rate",
    "z_coef",
];

fn neutral(value: Value) -> Value {
    match value {
        // However a gain is stored, what it multiplies by is written.
        Value::Object(map) if map.contains_key("form") => {
            let shape = map.get("shape").cloned().unwrap_or_default();
            Value::Object(Map::from_iter([("shape".to_owned(), shape)]))
        }
        Value::Object(map) => map
            .into_iter()
            .filter(|(key, _)| !TRAINING.contains(&key.as_str()))
            .map(|(key, value)| (key, neutral(value)))
            .collect(),
        Value::Array(list) => list.into_iter().map(neutral).collect(),
        other => other,
    }
}

fn compare(place: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    let within = |key: &str| {
        if place.is_empty() {
            key.to_owned()
        } else {
            format!("{place}.{key}")
        }
    };
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => compare(&within(key), a, b, found),
                    (None, Some(_)) if key == "gain" || key == "bias" => {}
                    (a, b) => found.push(format!(
                        "{}: {} here, {} there",
                        within(key),
                        brief(a),
                        brief(b)
                    )),
                }
            }
        }
        // The blocks of a scheme seldom differ from one another: the first that shows something is enough.
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                let before = found.len();
                compare(&within(&index.to_string()), a, b, found);
                if found.len() > before {
                    break;
                }
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!(
            "{place}: {} here, {} there",
            brief(Some(a)),
            brief(Some(b))
        )),
    }
}

/// A value in a few words.
fn brief(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::Object(map)) => match map.get("kind") {
            Some(kind) => kind.to_string().replace('"', ""),
            None => "one".to_owned(),
        },
        Some(other) => other.to_string().replace('"', ""),
    }
}
