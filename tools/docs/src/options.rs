//! The tables of options in `docs/strategies.md`: what each value means, and which references are computed with it.

use crate::references::{Reference, listed};
use evenburn_model::{
    Biases, Dims, Double, DoubleAt, GainDecay, Gains, Gates, HeadScale, HeadWeights, Joined, Kept,
    MlpKind, ModelConfig, NormalizedOver, OutputBefore, OutputInit, Placement, Positions,
    ScaleVectors, Stored,
};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;

/// A key below `[model]` and its values with their meanings; the first is the one that changes nothing.
type Choice = (&'static str, Vec<(String, String)>);

/// A size below `[model]`, what it means, and whether a model makes use of it.
type Size = (&'static str, &'static str, fn(&Dims) -> bool);

/// Values of an enum with their documentation.
fn values<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = serde_json::to_value(schema_for!(T)).unwrap_or_default();
    let text = |value: &Value| {
        let words = value.as_str().unwrap_or_default().split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    variants
        .iter()
        .map(|v| (text(&v["const"]), text(&v["description"])))
        .collect()
}

fn at<'a>(config: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(config, |value, part| &value[part])
}

/// Scale vectors: a value is proven by a reference whose plan is another one without it.
pub(crate) fn scale_vectors(references: &[Reference]) -> anyhow::Result<String> {
    let named: Choice = ("scale_vectors", values::<ScaleVectors>());
    let switches: [Choice; 10] = [
        ("gains", values::<Gains>()),
        ("placement", values::<Placement>()),
        ("double", values::<Double>()),
        ("double_at", values::<DoubleAt>()),
        ("normalized_over", values::<NormalizedOver>()),
        ("output_init", values::<OutputInit>()),
        ("output_before", values::<OutputBefore>()),
        ("head", values::<HeadScale>()),
        ("stored", values::<Stored>()),
        ("decay", values::<GainDecay>()),
    ];
    let mut page = "
Scale vectors (2605.26895) are a rewrite of any scheme's plan, by options of `[model]`. A reference is listed where
leaving the option out would change its plan; for the named combinations, where its plan is that of the combination.

| option | meaning | proven by |
|---|---|---|
"
    .to_owned();
    for (value, meaning) in named.1.iter().skip(1) {
        let mut proof = Vec::new();
        for reference in references {
            let mut config = reference.standard();
            config.scale_vectors = serde_json::from_value(Value::String(value.clone()))?;
            // A scheme without normalizations refuses some combinations.
            let combined = reference.plan(&config).ok();
            if combined == Some(reference.plan(&reference.config)?) && !reference.is_standard()? {
                proof.push(reference);
            }
        }
        page += &row(named.0, value, meaning, &listed(proof.into_iter()));
    }
    for (key, values) in switches {
        for (value, meaning) in values.iter().skip(1) {
            let mut proof = Vec::new();
            for reference in references {
                let mut config = serde_json::to_value(&reference.config)?;
                if config["scale"][key] != value.as_str() {
                    continue;
                }
                config["scale"][key].take();
                let without: ModelConfig = serde_json::from_value(config)?;
                if reference.plan(&without)? != reference.plan(&reference.config)? {
                    proof.push(reference);
                }
            }
            page += &row(
                &format!("scale.{key}"),
                value,
                meaning,
                &listed(proof.into_iter()),
            );
        }
    }
    Ok(page)
}

/// What stands around the normalization, as far as a forward pass shows it.
pub(crate) fn bodies(references: &[Reference]) -> anyhow::Result<String> {
    let dense: [Choice; 4] = [
        ("mlp", values::<MlpKind>()),
        ("positions", values::<Positions>()),
        ("biases", values::<Biases>()),
        ("head", values::<HeadWeights>()),
    ];
    let mixed: [Choice; 2] = [
        ("experts.gates", values::<Gates>()),
        ("experts.kept", values::<Kept>()),
    ];
    let sizes: [Size; 7] = [
        (
            "kv_heads",
            "Key and value heads that serve several query heads.",
            |d| d.kv_heads < d.heads,
        ),
        (
            "head_dim",
            "Heads that together are not as wide as the model.",
            |d| d.heads * d.head != d.model,
        ),
        (
            "rope_fraction",
            "A rotary embedding on the first part of each head.",
            |d| d.rope_channels() < d.head,
        ),
        ("experts.count", "A mixture of experts.", |d| {
            d.experts.count > 0
        }),
        ("experts.shared", "Experts that every token has.", |d| {
            d.experts.shared > 0
        }),
        (
            "experts.shared_hidden",
            "The width of those, where it is another.",
            |d| d.experts.shared_hidden.is_some(),
        ),
        (
            "experts.combine",
            "Experts weighted by the square roots of their gates.",
            |d| d.experts.combine == Joined::Sqrt,
        ),
    ];
    let mut page = "
Around the normalization, with the references computed with each option. What acts in training alone (dropout, balance
of the experts) is no part of them, but for the balancing loss of the mixtures of `transformers`.

| option | meaning | proven by |
|---|---|---|
"
    .to_owned();
    for ((key, values), mixture) in dense
        .iter()
        .map(|option| (option, false))
        .chain(mixed.iter().map(|option| (option, true)))
    {
        for (value, meaning) in values {
            let mut proof = Vec::new();
            for reference in references {
                let config = serde_json::to_value(&reference.config)?;
                let applies = !mixture || !reference.config.experts.is_dense();
                if applies && at(&config, key) == value.as_str() {
                    proof.push(reference);
                }
            }
            page += &row(key, value, meaning, &listed(proof.into_iter()));
        }
    }
    for (key, meaning, has) in sizes {
        let mut proof = Vec::new();
        for reference in references {
            if has(&reference.config.dims()?) {
                proof.push(reference);
            }
        }
        page += &format!("| `{key}` | {meaning} | {} |\n", listed(proof.into_iter()));
    }
    Ok(page)
}

fn row(key: &str, value: &str, meaning: &str, proof: &str) -> String {
    let meaning = meaning.replace('|', "\\|");
    format!("| `{key} = \"{value}\"` | {meaning} | {proof} |\n")
}
