//! From a case's description to a model of ours.

use super::case::Case;
use super::names::Source;
use evenburn_model::strategy::{
    AnGpt, Decay, HeadNorm, Ngpt, PreNorm, QkNorm, ResidualFactor, RowNorm, SimpleNorm, Start,
};
use evenburn_model::{HeadWeights, ModelConfig, Scheme};
use serde_json::Value;

/// What a case describes, in our terms.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) source: Source,
    pub(super) config: ModelConfig,
    pub(super) scheme: Scheme,
}

/// Keys that say nothing about the model, or repeat what others say.
const NEUTRAL: &[&str] = &[
    "source",
    "scheme",
    "optimizer",
    "after_step",
    "weight_layout",
    "precision",
    "train_losses",
    "grad_norms",
    "max_seq_len",
    "dim",
    "n_layers",
    "n_heads",
    "n_kv_heads",
    "vocab_size",
    "hidden",
    "multiple_of",
    "ffn_dim_multiplier",
    "norm_eps",
    "rope",
    "rope_theta",
    "base_scale",
];

/// Keys that a scheme understands besides the neutral ones.
fn own_keys(scheme: &str) -> &'static [&'static str] {
    match scheme {
        "pre" => &["qk", "form"],
        "angpt" => &[
            "alpha_init",
            "alpha_scale",
            "sz_init",
            "sz_scale",
            "nu_act",
            "residual_factor",
            "form",
        ],
        _ => &[],
    }
}

/// Reads the description.
///
/// # Errors
/// Says what of it is unknown: the scheme, a key or a value.
#[allow(clippy::too_many_lines)] // one arm per scheme
pub(super) fn resolve(case: &Case) -> Result<Model, String> {
    let text = |key: &str| case.config.get(key).and_then(Value::as_str);
    let number = |key: &str| case.config.get(key).and_then(Value::as_f64);
    let size = |key: &str| {
        let value = case.config.get(key).and_then(Value::as_u64);
        value
            .map(|n| n as usize)
            .ok_or_else(|| format!("`{key}` is missing"))
    };
    let name = text("scheme").ok_or("`scheme` is missing")?;
    if let Some(key) = case
        .config
        .keys()
        .find(|key| !NEUTRAL.contains(&key.as_str()) && !own_keys(name).contains(&key.as_str()))
    {
        return Err(format!("scheme `{name}` with key `{key}`"));
    }
    if let Some(rope) = text("rope").filter(|rope| *rope != "interleaved pairs") {
        return Err(format!("rotary embedding `{rope}`"));
    }
    if let Some(form) = text("form").filter(|form| *form != "direct") {
        return Err(format!("gains of form `{form}`"));
    }
    let eps = number("norm_eps").ok_or("`norm_eps` is missing")?;
    let pre = |qk| {
        Scheme::PreNorm(PreNorm {
            qk,
            eps,
            start: Start::SimpleGpt,
            decay: Decay::Matrices,
        })
    };
    let rows = match text("after_step") {
        Some("none" | "rows_at_most_one" | "unit_along_embedding") => match text("after_step") {
            Some("unit_along_embedding") => RowNorm::One,
            _ => RowNorm::AtMostOne,
        },
        other => return Err(format!("`after_step` {other:?}")),
    };
    let (source, scheme) = match name {
        "prenorm" => (Source::SimpleGpt, pre(QkNorm::None)),
        "preqknorm" => (Source::SimpleGpt, pre(QkNorm::Full)),
        "simplegpt" => {
            let simple = SimpleNorm {
                eps,
                ..SimpleNorm::default()
            };
            (Source::SimpleGpt, Scheme::SimpleNorm(simple))
        }
        "ngpt_baseline" => (Source::Ngpt, pre(QkNorm::None)),
        "ngpt" => {
            let ngpt = Ngpt {
                rows,
                ..Ngpt::default()
            };
            (Source::Ngpt, Scheme::Ngpt(ngpt))
        }
        "pre" => {
            let qk = match text("qk") {
                None | Some("none") => QkNorm::None,
                Some("head") => QkNorm::Head,
                Some("full") => QkNorm::Full,
                Some(other) => return Err(format!("q/k norm `{other}`")),
            };
            (Source::Formulas, pre(qk))
        }
        "angpt" => {
            let defaults = AnGpt::default();
            let off = case.config.get("residual_factor") == Some(&Value::Bool(false));
            let angpt = AnGpt {
                qk: HeadNorm::Unit,
                alpha_init: number("alpha_init").unwrap_or(defaults.alpha_init),
                alpha_scale: number("alpha_scale").unwrap_or(defaults.alpha_scale),
                sz_init: number("sz_init").unwrap_or(defaults.sz_init),
                sz_scale: number("sz_scale"),
                activation_factor: number("nu_act"),
                residual_factor: if off {
                    ResidualFactor::One
                } else {
                    ResidualFactor::SecondMoment
                },
                rows,
            };
            (Source::Formulas, Scheme::AnGpt(angpt))
        }
        other => return Err(format!("scheme `{other}`")),
    };
    let config = ModelConfig {
        vocab_size: size("vocab_size")?,
        dim: size("dim")?,
        layers: size("n_layers")?,
        heads: size("n_heads")?,
        kv_heads: case
            .config
            .get("n_kv_heads")
            .and_then(Value::as_u64)
            .map(|n| n as usize),
        head_dim: None,
        hidden: Some(size("hidden")?),
        context: size("max_seq_len")?,
        rope_theta: number("rope_theta").ok_or("`rope_theta` is missing")?,
        head: HeadWeights::Untied,
    };
    Ok(Model {
        source,
        config,
        scheme,
    })
}
