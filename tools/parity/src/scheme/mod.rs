//! From a case's description to a model of ours.

mod function;
mod scale_vectors;

use self::function::{function, state};
use self::scale_vectors::scale_vectors;
use super::case::Case;
use super::names::Source;
use evenburn_model::strategy::{
    AnGpt, Bias, Decay, DeepNorm, Derf, DyT, EmbedNorm, EmbedScalar, FinalNorm, FirstBlock,
    GateScale, GeoNorm, HeadNorm, HybridNorm, Keel, LnScaling, Ngpt, Olmo2, PeriNorm, PostNorm,
    PreNorm, QkNorm, ResidualFactor, RowNorm, SiameseNorm, SimpleNorm, SoftmaxGain, Statistics,
    UnitNorm, WeightInit,
};
use evenburn_model::{ExpertsConfig, HeadWeights, ModelConfig, Scheme};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a case describes, in our terms.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) source: Source,
    pub(crate) config: ModelConfig,
    pub(crate) scheme: Scheme,
    /// What the case keeps out of its parameters, and ours have as state: values by path.
    pub(crate) state: Vec<(String, f64)>,
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
    "rope_fraction",
    "base_scale",
    "final_norm",
];

/// Norms of cases that are functions in place of RMSNorm.
const FUNCTIONS: [&str; 4] = ["seednorm", "gated", "preaffine", "taper"];

/// Keys that a scheme understands besides the neutral ones.
fn own_keys(scheme: &str) -> &'static [&'static str] {
    match scheme {
        "pre" => &[
            "qk",
            "form",
            "norm",
            "alpha_attn",
            "alpha_ffn",
            "alpha_final",
            "embed_scale",
            "seed_heads",
            "gate_rank",
            "gate",
            "taper_c",
            "softmax_gain",
            "softmax_scale",
            "sv",
        ],
        "post" | "lns" => &["qk", "form", "norm", "sv"],
        "peri" => &["qk", "form", "norm", "embed_norm", "sv"],
        "keel" => &["qk", "form", "norm", "sv", "skip_scale", "first_block"],
        "olmo2" => &["qk", "form", "sv"],
        "hybrid" => &["form", "sv"],
        "geonorm" => &["decay", "clamp", "embed_norm", "form"],
        "siamese" => &["streams", "form", "sv"],
        "deep_norm" => &["norm", "mlp", "positions", "biases"],
        "angpt" => &[
            "alpha_init",
            "alpha_scale",
            "sz_init",
            "sz_scale",
            "nu_act",
            "residual_factor",
            "branch_norm",
            "softmax_gain",
            "gate_scale",
            "factors",
            "form",
        ],
        "ngpt_nu" => &[
            "skip_norm",
            "alpha_init",
            "alpha_scale",
            "sqk_init",
            "sqk_scale",
            "sz_init",
            "sz_scale",
        ],
        _ => &[],
    }
}

/// Reads the description.
///
/// # Errors
/// Says what of it is unknown: the scheme, a key or a value.
#[allow(clippy::too_many_lines)] // one arm per scheme
pub(crate) fn resolve(case: &Case) -> Result<Model, String> {
    let text = |key: &str| case.config.get(key).and_then(Value::as_str);
    let number = |key: &str| case.config.get(key).and_then(Value::as_f64);
    let size = |key: &str| {
        let value = case.config.get(key).and_then(Value::as_u64);
        value
            .map(|n| n as usize)
            .ok_or_else(|| format!("`{key}` is missing"))
    };
    let flag = |key: &str| case.config.get(key) == Some(&Value::Bool(true));
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
    let last = last_norm(case, name);
    // GeoNorm and Keel have a choice, and a function in place of RMSNorm has its places.
    if let Some(last) = last.filter(|_| !["geonorm", "keel", "pre"].contains(&name)) {
        return Err(format!("final norm `{last}` of scheme `{name}`"));
    }
    let final_norm = match last {
        None | Some("none") => FinalNorm::None,
        Some("rms") => FinalNorm::Rms,
        Some("ln") => FinalNorm::Layer,
        Some(other) if name == "pre" && FUNCTIONS.contains(&other) => FinalNorm::None,
        Some(other) => return Err(format!("final norm `{other}`")),
    };
    let eps = number("norm_eps").ok_or("`norm_eps` is missing")?;
    let pre = |qk| {
        Scheme::from(PreNorm {
            qk,
            softmax_gain: None,
            softmax_scale: None,
            norm: Statistics::Rms,
            bias: Bias::None,
            eps,
            start: WeightInit::SimpleGpt,
            decay: Decay::Matrices,
        })
    };
    let softmax_gain = match text("softmax_gain") {
        None | Some("none") => SoftmaxGain::None,
        Some("learned") => SoftmaxGain::Learned,
        Some(other) => return Err(format!("softmax gain `{other}`")),
    };
    let (scale_vectors, scale) = scale_vectors(case)?;
    let qk = match text("qk") {
        None | Some("none") => QkNorm::None,
        Some("head") => QkNorm::Head,
        Some("full") => QkNorm::Full,
        Some("unit") => QkNorm::Unit,
        Some("keys") => QkNorm::Keys,
        Some(other) => return Err(format!("q/k norm `{other}`")),
    };
    let statistics = match text("norm") {
        None | Some("rms") => Statistics::Rms,
        Some("ln") => Statistics::Layer,
        Some("dyt" | "derf") if name == "pre" => Statistics::Rms,
        Some(other) if name == "pre" && FUNCTIONS.contains(&other) => Statistics::Rms,
        Some(other) => return Err(format!("norm `{other}`")),
    };
    let decay = Decay::Matrices;
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
            (Source::SimpleGpt, Scheme::from(simple))
        }
        "ngpt_baseline" => (Source::Ngpt, pre(QkNorm::None)),
        "ngpt" => {
            let ngpt = Ngpt {
                rows,
                ..Ngpt::default()
            };
            (Source::Ngpt, Scheme::from(ngpt))
        }
        "ngpt_nu" => {
            let defaults = Ngpt::default();
            let ngpt = Ngpt {
                qk: HeadNorm::Unit,
                residual_factor: ResidualFactor::SecondMoment,
                skip_norm: Some(if flag("skip_norm") {
                    UnitNorm::Unit
                } else {
                    UnitNorm::None
                }),
                alpha_init: number("alpha_init").unwrap_or(defaults.alpha_init),
                alpha_scale: number("alpha_scale"),
                sqk_init: number("sqk_init").unwrap_or(defaults.sqk_init),
                sqk_scale: number("sqk_scale"),
                sz_init: number("sz_init").unwrap_or(defaults.sz_init),
                sz_scale: number("sz_scale"),
                rows,
            };
            (Source::Formulas, Scheme::from(ngpt))
        }
        "pre" => match text("norm") {
            Some("dyt") => {
                let defaults = DyT::default();
                let dyt = DyT {
                    slope_attn: number("alpha_attn").unwrap_or(defaults.slope_attn),
                    slope_mlp: number("alpha_ffn").unwrap_or(defaults.slope_mlp),
                    slope_final: number("alpha_final").unwrap_or(defaults.slope_final),
                    embed_scalar: if flag("embed_scale") {
                        EmbedScalar::Learned
                    } else {
                        EmbedScalar::None
                    },
                    bias: Bias::Learned,
                    decay,
                    ..defaults
                };
                (Source::Formulas, Scheme::from(dyt))
            }
            Some("derf") => (Source::Formulas, Scheme::from(Derf::default())),
            _ => {
                // Without a scale of its own a case has 1 / sqrt(head width), whatever its q/k norm.
                let head = size("dim")? as f64 / size("n_heads")? as f64;
                let pre = PreNorm {
                    qk,
                    softmax_gain: Some(softmax_gain),
                    softmax_scale: match softmax_gain {
                        SoftmaxGain::None => {
                            Some(number("softmax_scale").unwrap_or(head.sqrt().recip()))
                        }
                        SoftmaxGain::Learned => number("softmax_scale"),
                    },
                    norm: statistics,
                    bias: Bias::None,
                    eps,
                    start: WeightInit::SimpleGpt,
                    decay,
                };
                (Source::Formulas, Scheme::from(pre))
            }
        },
        "post" => {
            let post = PostNorm {
                qk,
                norm: statistics,
                eps,
                ..PostNorm::default()
            };
            (Source::Formulas, Scheme::from(post))
        }
        "keel" => {
            let keel = Keel {
                qk,
                norm: statistics,
                eps,
                skip_scale: number("skip_scale"),
                first_block: match text("first_block") {
                    Some("pre") => FirstBlock::Pre,
                    Some("post") => FirstBlock::Post,
                    other => return Err(format!("`first_block` {other:?}")),
                },
                final_norm,
                decay,
                ..Keel::default()
            };
            (Source::Formulas, Scheme::from(keel))
        }
        "lns" => {
            let lns = LnScaling {
                qk,
                norm: statistics,
                eps,
                ..LnScaling::default()
            };
            (Source::Formulas, Scheme::from(lns))
        }
        "peri" => {
            let peri = PeriNorm {
                qk,
                norm: statistics,
                eps,
                embed_norm: if flag("embed_norm") {
                    EmbedNorm::Normalized
                } else {
                    EmbedNorm::None
                },
                ..PeriNorm::default()
            };
            (Source::Formulas, Scheme::from(peri))
        }
        "olmo2" => {
            let olmo2 = Olmo2 {
                qk,
                eps,
                ..Olmo2::default()
            };
            (Source::Formulas, Scheme::from(olmo2))
        }
        "geonorm" => {
            let defaults = GeoNorm::default();
            let geo = GeoNorm {
                decay: match case.config.get("decay") {
                    None => defaults.decay,
                    Some(_) => required(case, "decay")?,
                },
                clamp: number("clamp").unwrap_or(defaults.clamp),
                embed_norm: if flag("embed_norm") {
                    EmbedNorm::Normalized
                } else {
                    EmbedNorm::None
                },
                final_norm,
                eps,
                start: defaults.start,
            };
            (Source::Formulas, Scheme::from(geo))
        }
        "siamese" => {
            let siamese = SiameseNorm {
                streams: required(case, "streams")?,
                eps,
                ..SiameseNorm::default()
            };
            (Source::Formulas, Scheme::from(siamese))
        }
        "hybrid" => {
            let hybrid = HybridNorm {
                eps,
                ..HybridNorm::default()
            };
            (Source::Formulas, Scheme::from(hybrid))
        }
        "angpt" => {
            let defaults = AnGpt::default();
            let off = case.config.get("residual_factor") == Some(&Value::Bool(false));
            let angpt = AnGpt {
                branch_norm: match text("branch_norm") {
                    None | Some("none") => UnitNorm::None,
                    Some("unit") => UnitNorm::Unit,
                    Some(other) => return Err(format!("branch norm `{other}`")),
                },
                qk: HeadNorm::Unit,
                softmax_gain,
                attention_factor: defaults.attention_factor,
                factors: named(case, "factors")?,
                alpha_init: number("alpha_init").unwrap_or(defaults.alpha_init),
                alpha_scale: number("alpha_scale").unwrap_or(defaults.alpha_scale),
                sz_init: number("sz_init").unwrap_or(defaults.sz_init),
                sz_scale: number("sz_scale").unwrap_or(defaults.sz_scale),
                gate_scale: match text("gate_scale") {
                    None | Some("sqrt_dim") => GateScale::SqrtDim,
                    Some("one") => GateScale::One,
                    Some(other) => return Err(format!("gate scale `{other}`")),
                },
                activation_factor: number("nu_act"),
                residual_factor: if off {
                    ResidualFactor::One
                } else {
                    ResidualFactor::SecondMoment
                },
                rows,
            };
            (Source::Formulas, Scheme::from(angpt))
        }
        "deep_norm" => {
            let deep = DeepNorm {
                norm: statistics,
                eps,
                decay,
                ..DeepNorm::default()
            };
            (Source::TorchScale, Scheme::from(deep))
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
        rope_theta: match (number("rope_theta"), text("positions")) {
            (Some(theta), _) => theta,
            (None, Some(_)) => ModelConfig::default().rope_theta,
            (None, None) => return Err("`rope_theta` is missing".to_owned()),
        },
        rope_fraction: number("rope_fraction").unwrap_or(1.0),
        head: HeadWeights::Untied,
        function: match name {
            // A final norm is their own choice, or none.
            "geonorm" | "post" | "keel" => None,
            _ => function(case)?,
        },
        positions: named(case, "positions")?,
        mlp: named(case, "mlp")?,
        biases: named(case, "biases")?,
        dropout: 0.0,
        experts: ExpertsConfig::default(),
        scale_vectors,
        scale,
    };
    let state = state(case, config.layers)?;
    Ok(Model {
        source,
        config,
        scheme,
        state,
    })
}

/// The kind of the norm before the output layer, where it isn't the one that the scheme has anyway.
fn last_norm<'a>(case: &'a Case, scheme: &str) -> Option<&'a str> {
    let text = |key: &str| case.config.get(key).and_then(Value::as_str);
    let own = match scheme {
        "angpt" | "ngpt_nu" | "post" | "keel" | "geonorm" => "none",
        _ => text("norm").unwrap_or("rms"),
    };
    text("final_norm").filter(|last| *last != own)
}

/// The value that a key names in the way our configuration does, or the default.
fn named<T: DeserializeOwned + Default>(case: &Case, key: &str) -> Result<T, String> {
    match case.config.get(key) {
        None => Ok(T::default()),
        Some(_) => required(case, key),
    }
}

/// The same without a default.
fn required<T: DeserializeOwned>(case: &Case, key: &str) -> Result<T, String> {
    let value = case.config.get(key);
    let value = value.ok_or_else(|| format!("`{key}` is missing"))?;
    serde_json::from_value(value.clone()).map_err(|error| format!("`{key}`: {error}"))
}
