//! Names of the sources beside ours, and which matrices are transposed.
//!
//! Linear weights of the sources are `[out, in]`, ours `[in, out]`; embedding tables are `[vocabulary, model]` in
//! both.

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::TensorData;
use std::collections::BTreeMap;

use super::case::{Array, Case};

/// How a source writes its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The SimpleGPT implementation.
    SimpleGpt,
    /// The nGPT implementation.
    Ngpt,
    /// The independent implementation of the formulas.
    Formulas,
    /// The library of DeepNorm's authors.
    TorchScale,
}

/// Where a source tensor's rows go: our paths, each with as many rows as it has outputs.
///
/// `{}` stands for the block. A source tensor that stacks two of ours names both, first rows first.
type Row = (&'static str, &'static [&'static str]);

const SIMPLE_GPT: &[Row] = &[
    ("tok_embeddings.weight", &["embed.weight"]),
    ("output.weight", &["head.weight"]),
    ("norm.weight", &["final_norm.gain.value"]),
    (
        "layers.{}.attention_norm.weight",
        &["blocks.{}.attn_residual.input.gain.value"],
    ),
    (
        "layers.{}.ffn_norm.weight",
        &["blocks.{}.mlp_residual.input.gain.value"],
    ),
    (
        "layers.{}.attention.wq.weight",
        &["blocks.{}.attn.q.weight"],
    ),
    (
        "layers.{}.attention.wk.weight",
        &["blocks.{}.attn.k.weight"],
    ),
    (
        "layers.{}.attention.wv.weight",
        &["blocks.{}.attn.v.weight"],
    ),
    (
        "layers.{}.attention.wo.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    (
        "layers.{}.attention.q_norm.weight",
        &["blocks.{}.attn.q.norm.gain.value"],
    ),
    (
        "layers.{}.attention.k_norm.weight",
        &["blocks.{}.attn.k.norm.gain.value"],
    ),
    (
        "layers.{}.feed_forward.w1.weight",
        &["blocks.{}.mlp.gate.weight"],
    ),
    (
        "layers.{}.feed_forward.w3.weight",
        &["blocks.{}.mlp.up.weight"],
    ),
    (
        "layers.{}.feed_forward.w2.weight",
        &["blocks.{}.mlp.down.weight"],
    ),
    (
        "layers.{}.attention.snq.lin.weight",
        &["blocks.{}.attn.q.weight"],
    ),
    (
        "layers.{}.attention.snk.lin.weight",
        &["blocks.{}.attn.k.weight"],
    ),
    (
        "layers.{}.attention.snv.lin.weight",
        &["blocks.{}.attn.v.weight"],
    ),
    (
        "layers.{}.attention.sno.lin.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    (
        "layers.{}.attention.snq.norm.weight",
        &["blocks.{}.attn.q.norm.gain.value"],
    ),
    (
        "layers.{}.attention.snk.norm.weight",
        &["blocks.{}.attn.k.norm.gain.value"],
    ),
    (
        "layers.{}.attention.snv.norm.weight",
        &["blocks.{}.attn.v.norm.gain.value"],
    ),
    (
        "layers.{}.attention.sno.norm.weight",
        &["blocks.{}.attn.o.norm.gain.value"],
    ),
    (
        "layers.{}.feed_forward.sn1.lin.weight",
        &["blocks.{}.mlp.gate.weight"],
    ),
    (
        "layers.{}.feed_forward.sn3.lin.weight",
        &["blocks.{}.mlp.up.weight"],
    ),
    (
        "layers.{}.feed_forward.sn2.lin.weight",
        &["blocks.{}.mlp.down.weight"],
    ),
    (
        "layers.{}.feed_forward.sn1.norm.weight",
        &["blocks.{}.mlp.gate.norm.gain.value"],
    ),
    (
        "layers.{}.feed_forward.sn3.norm.weight",
        &["blocks.{}.mlp.up.norm.gain.value"],
    ),
    (
        "layers.{}.feed_forward.sn2.norm.weight",
        &["blocks.{}.mlp.down.norm.gain.value"],
    ),
];

const NGPT: &[Row] = &[
    ("transformer.wte.weight", &["embed.weight"]),
    ("lm_head.weight", &["head.weight"]),
    ("sz", &["head.after.value"]),
    ("rmsnorm_f.weight", &["final_norm.gain.value"]),
    (
        "transformer.h.{}.rmsnorm_att.weight",
        &["blocks.{}.attn_residual.input.gain.value"],
    ),
    (
        "transformer.h.{}.rmsnorm_mlp.weight",
        &["blocks.{}.mlp_residual.input.gain.value"],
    ),
    (
        "transformer.h.{}.query.weight",
        &["blocks.{}.attn.q.weight"],
    ),
    ("transformer.h.{}.key.weight", &["blocks.{}.attn.k.weight"]),
    (
        "transformer.h.{}.value.weight",
        &["blocks.{}.attn.v.weight"],
    ),
    (
        "transformer.h.{}.att_c_proj.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    (
        "transformer.h.{}.c_fc.weight",
        &["blocks.{}.mlp.up.weight", "blocks.{}.mlp.gate.weight"],
    ),
    (
        "transformer.h.{}.mlp_c_proj.weight",
        &["blocks.{}.mlp.down.weight"],
    ),
    (
        "transformer.h.{}.attn_alpha",
        &["blocks.{}.attn_residual.mix.alpha.value"],
    ),
    (
        "transformer.h.{}.mlp_alpha",
        &["blocks.{}.mlp_residual.mix.alpha.value"],
    ),
    (
        "transformer.h.{}.sqk",
        &["blocks.{}.attn.scores.gain.value"],
    ),
    (
        "transformer.h.{}.suv",
        &[
            "blocks.{}.mlp.up.after.value",
            "blocks.{}.mlp.gate.after.value",
        ],
    ),
];

const FORMULAS: &[Row] = &[
    ("emb", &["embed.weight"]),
    ("head", &["head.weight"]),
    ("sz.w", &["head.after.value"]),
    ("head_post.alpha", &["head.after.value"]),
    ("head_post.beta", &["head.after.magnitude"]),
    ("layers.{}.q.w", &["blocks.{}.attn.q.weight"]),
    ("layers.{}.k.w", &["blocks.{}.attn.k.weight"]),
    ("layers.{}.v.w", &["blocks.{}.attn.v.weight"]),
    ("layers.{}.o.w", &["blocks.{}.attn.o.weight"]),
    ("layers.{}.g.w", &["blocks.{}.mlp.gate.weight"]),
    ("layers.{}.u.w", &["blocks.{}.mlp.up.weight"]),
    ("layers.{}.d.w", &["blocks.{}.mlp.down.weight"]),
    ("es", &["embed.gain.value"]),
    ("layers.{}.sg", &["blocks.{}.attn.scores.softmax.value"]),
    ("layers.{}.sqk.w", &["blocks.{}.attn.scores.gain.value"]),
    (
        "layers.{}.aA.w",
        &["blocks.{}.attn_residual.mix.alpha.value"],
    ),
    (
        "layers.{}.aM.w",
        &["blocks.{}.mlp_residual.mix.alpha.value"],
    ),
    (
        "layers.{}.geoA.scale",
        &["blocks.{}.attn_residual.mix.rule.scale"],
    ),
    (
        "layers.{}.geoA.bias",
        &["blocks.{}.attn_residual.mix.rule.bias"],
    ),
    (
        "layers.{}.geoM.scale",
        &["blocks.{}.mlp_residual.mix.rule.scale"],
    ),
    (
        "layers.{}.geoM.bias",
        &["blocks.{}.mlp_residual.mix.rule.bias"],
    ),
];

const TORCH_SCALE: &[Row] = &[
    ("embed_tokens.weight", &["embed.weight"]),
    ("output_projection.weight", &["head.weight"]),
    (
        "layers.{}.self_attn_layer_norm.weight",
        &["blocks.{}.attn_residual.after.gain.value"],
    ),
    (
        "layers.{}.final_layer_norm.weight",
        &["blocks.{}.mlp_residual.after.gain.value"],
    ),
    (
        "layers.{}.self_attn.q_proj.weight",
        &["blocks.{}.attn.q.weight"],
    ),
    (
        "layers.{}.self_attn.q_proj.bias",
        &["blocks.{}.attn.q.bias"],
    ),
    (
        "layers.{}.self_attn.k_proj.weight",
        &["blocks.{}.attn.k.weight"],
    ),
    (
        "layers.{}.self_attn.k_proj.bias",
        &["blocks.{}.attn.k.bias"],
    ),
    (
        "layers.{}.self_attn.v_proj.weight",
        &["blocks.{}.attn.v.weight"],
    ),
    (
        "layers.{}.self_attn.v_proj.bias",
        &["blocks.{}.attn.v.bias"],
    ),
    (
        "layers.{}.self_attn.out_proj.weight",
        &["blocks.{}.attn.o.weight"],
    ),
    (
        "layers.{}.self_attn.out_proj.bias",
        &["blocks.{}.attn.o.bias"],
    ),
    ("layers.{}.ffn.fc1.weight", &["blocks.{}.mlp.up.weight"]),
    ("layers.{}.ffn.fc1.bias", &["blocks.{}.mlp.up.bias"]),
    ("layers.{}.ffn.fc2.weight", &["blocks.{}.mlp.down.weight"]),
    ("layers.{}.ffn.fc2.bias", &["blocks.{}.mlp.down.bias"]),
];

/// A source tensor and the parameters it holds.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    /// Name in the source.
    pub(super) source: String,
    /// Our paths, first rows first.
    pub(super) ours: Vec<String>,
}

impl Source {
    fn rows(self) -> &'static [Row] {
        match self {
            Self::SimpleGpt => SIMPLE_GPT,
            Self::Ngpt => NGPT,
            Self::Formulas => FORMULAS,
            Self::TorchScale => TORCH_SCALE,
        }
    }

    /// Finds each parameter of a case in the table.
    ///
    /// # Errors
    /// When the case has a tensor that the table lacks.
    pub(super) fn map(self, case: &Case) -> Result<Vec<Mapped>> {
        case.names("param.")
            .into_iter()
            .map(|name| {
                let (pattern, block) = generalize(name);
                let row = self.rows().iter().find(|(source, _)| *source == pattern);
                let ours = match (row, self) {
                    (Some((_, ours)), _) => ours.iter().map(ToString::to_string).collect(),
                    (None, Self::Formulas) => vec![
                        by_formula(&pattern, case)
                            .with_context(|| format!("no parameter corresponds to `{name}`"))?,
                    ],
                    _ => bail!("no parameter corresponds to `{name}`"),
                };
                let ours = ours.iter().map(|path| path.replace("{}", &block)).collect();
                Ok(Mapped {
                    source: name.to_owned(),
                    ours,
                })
            })
            .collect()
    }
}

/// The names of the independent implementation that are put together from a place and a part.
fn by_formula(pattern: &str, case: &Case) -> Option<String> {
    if let Some((place, part)) = pattern.split_once('.') {
        let end = match place {
            "ne" => Some("embed.norm"),
            "xf" => Some("join.stream"),
            "yf" => Some("join.companion"),
            "nf" => Some("final_norm"),
            _ => None,
        };
        if let Some(end) = end {
            return Some(format!("{end}.{}", norm_part(part)?));
        }
    }
    let rest = pattern.strip_prefix("layers.{}.")?;
    let (place, part) = rest.split_once('.')?;
    let scheme = case.config.get("scheme").and_then(|s| s.as_str());
    let at = match place {
        "n1" | "i1" => "attn_residual.input",
        "n2" | "i2" => "mlp_residual.input",
        "x1" => "attn_residual.stream",
        "x2" => "mlp_residual.stream",
        "y1" => "attn_residual.companion.norm",
        "y2" => "mlp_residual.companion.norm",
        "p1" | "p2" => {
            let residual = if place == "p1" { "attn" } else { "mlp" };
            let at = match scheme? {
                "post" | "keel" => format!("{residual}_residual.after"),
                "hybrid" => "mlp_residual.stream".to_owned(),
                _ => format!("{residual}_residual.output"),
            };
            return Some(format!("blocks.{{}}.{at}.{}", norm_part(part)?));
        }
        "qn" => "attn.q.norm",
        "kn" => "attn.k.norm",
        "vn" => "attn.v.norm",
        _ => {
            let site = match place {
                "q" | "k" | "v" | "o" => format!("attn.{place}"),
                "g" => "mlp.gate".to_owned(),
                "u" => "mlp.up".to_owned(),
                "d" => "mlp.down".to_owned(),
                _ => return None,
            };
            let part = match part {
                "pre.alpha" => "before.value",
                "pre.beta" => "before.magnitude",
                "post.alpha" => "after.value",
                "post.beta" => "after.magnitude",
                _ => return None,
            };
            return Some(format!("blocks.{{}}.{site}.{part}"));
        }
    };
    Some(format!("blocks.{{}}.{at}.{}", norm_part(part)?))
}

/// What a normalization of the independent implementation calls its parameters.
fn norm_part(part: &str) -> Option<&'static str> {
    Some(match part {
        "g.alpha" => "gain.value",
        "g.beta" => "gain.magnitude",
        "a" => "slope",
        "s" => "shift",
        "b" => "bias",
        "dyn" => "dyn",
        "seed" => "seed",
        "gd.w" => "down",
        "gu.w" => "up",
        "lam" => "lambda",
        "t" => "copy",
        _ => return None,
    })
}

/// Replaces the first number that is a whole name by `{}`: `layers.3.q.w` gives `layers.{}.q.w` and `3`.
fn generalize(name: &str) -> (String, String) {
    let mut block = String::new();
    let parts: Vec<&str> = name
        .split('.')
        .map(|part| {
            if block.is_empty() && part.parse::<usize>().is_ok() {
                part.clone_into(&mut block);
                "{}"
            } else {
                part
            }
        })
        .collect();
    (parts.join("."), block)
}

/// Whether our tensor of this path and shape is the transpose of the source's.
fn transposed(path: &str, shape: &[usize]) -> bool {
    shape.len() == 2 && path != "embed.weight"
}

/// Splits a source tensor among our parameters.
///
/// # Errors
/// When its rows can't be shared out evenly.
pub(super) fn to_ours(mapped: &Mapped, source: &Array) -> Result<Vec<(String, Array)>> {
    let rows = source.shape[0];
    let parts = mapped.ours.len();
    ensure!(
        rows.is_multiple_of(parts),
        "{}: {rows} rows for {parts} parameters",
        mapped.source
    );
    let each = rows / parts;
    let width: usize = source.shape[1..].iter().product();
    Ok(mapped
        .ours
        .iter()
        .zip(source.values.chunks(each * width))
        .map(|(path, values)| {
            let array = if transposed(path, &source.shape) {
                Array {
                    shape: vec![width, each],
                    values: transpose(values, each, width),
                }
            } else {
                let mut shape = source.shape.clone();
                shape[0] = each;
                Array {
                    shape,
                    values: values.to_vec(),
                }
            };
            (path.clone(), array)
        })
        .collect())
}

/// Puts our parameters together as the source has them.
///
/// # Errors
/// When one of them is missing.
pub(super) fn to_source(mapped: &Mapped, ours: &BTreeMap<String, TensorData>) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    for path in &mapped.ours {
        let data = ours
            .get(path)
            .with_context(|| format!("the model has no `{path}`"))?;
        let shape = data.shape().to_vec();
        let part: Vec<f64> = data
            .clone()
            .convert::<f64>()
            .try_to_vec()
            .map_err(|e| anyhow::anyhow!("{path}: {e:?}"))?;
        if transposed(path, &shape) {
            values.extend(transpose(&part, shape[0], shape[1]));
        } else {
            values.extend(part);
        }
    }
    Ok(values)
}

fn transpose(values: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..columns)
        .flat_map(|c| (0..rows).map(move |r| values[r * columns + c]))
        .collect()
}
