//! From a plan and its weights to a folder of `transformers`.

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::folder::{CONFIG, Draft, TOKENIZER};
use crate::layout::{halves, ordered};
use crate::peer::{self, Peer};
use crate::{own, rows, same};
use burn::tensor::TensorData;
use evenburn_model::{Plan, Positions, settle};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// What is written.
#[derive(Debug)]
pub struct Model {
    /// Every decision.
    pub plan: Plan,
    /// Every parameter of the plan, by path.
    pub weights: Vec<(String, TensorData)>,
    /// The tokenizer, if it goes along.
    pub vocabulary: Option<Vocabulary>,
}

/// A tokenizer.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    /// The text of `tokenizer.json`.
    pub json: String,
    /// The token that ends a text.
    pub end_of_text: String,
    /// Its id.
    pub end_of_text_id: u32,
}

/// The class that is to load the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A class of `transformers` that computes the plan; where there is none, the project's own code.
    Auto,
    /// The class of this `model_type`.
    Peer(String),
    /// The project's own code, `modeling_evenburn.py`.
    Own,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The class that loads it.
    pub class: &'static str,
    /// Tensors in the folder.
    pub tensors: usize,
}

/// Writes a folder that `transformers` loads with `AutoModelForCausalLM`, complete or not at all.
///
/// # Errors
/// [`InterchangeError::OtherFunction`] when the class that was asked for can't compute the plan, with the places where they differ;
/// [`InterchangeError::Malformed`] when something is at `folder` already.
pub fn export(model: &Model, target: &Target, folder: &Path) -> Result<Exported, InterchangeError> {
    let written = match target {
        Target::Own => write_own(model)?,
        Target::Peer(name) => {
            let peer = peer::of(name).ok_or_else(|| InterchangeError::Inexpressible {
                path: folder.to_owned(),
                what: format!("class `{name}`"),
                why: format!("these are written: {}", peer::names().join(", ")),
            })?;
            write_peer(peer, model)?
        }
        Target::Auto => {
            let mut found = None;
            for peer in peer::ALL {
                match write_peer(peer, model) {
                    Ok(written) => {
                        found = Some(written);
                        break;
                    }
                    Err(InterchangeError::OtherFunction { .. }) => {}
                    Err(other) => return Err(other),
                }
            }
            match found {
                Some(written) => written,
                None => write_own(model)?,
            }
        }
    };
    let Written {
        class,
        mut config,
        tensors,
    } = written;
    let end = model.vocabulary.as_ref().map(|v| v.end_of_text_id);
    let dtype = match tensors.values().next().map(TensorData::dtype) {
        Some(burn::tensor::DType::F64) => "float64",
        _ => "float32",
    };
    for (key, value) in [
        ("architectures", json!([class])),
        ("dtype", json!(dtype)),
        ("bos_token_id", json!(end)),
        ("eos_token_id", json!(end)),
        ("use_cache", json!(true)),
    ] {
        config.insert(key.to_owned(), value);
    }
    let draft = Draft::begin(folder)?;
    draft.json(CONFIG, &config)?;
    draft.tensors(&tensors)?;
    if class == own::CLASS {
        draft.text(&format!("{}.py", own::MODULE), own::CODE)?;
    }
    if let Some(vocabulary) = &model.vocabulary {
        draft.text(TOKENIZER, &vocabulary.json)?;
        let about = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": vocabulary.end_of_text,
            "eos_token": vocabulary.end_of_text,
            "model_max_length": model.plan.dims().context,
        });
        if let Value::Object(about) = about {
            draft.json("tokenizer_config.json", &about)?;
        }
    }
    draft.finish()?;
    Ok(Exported {
        class,
        tensors: tensors.len(),
    })
}

struct Written {
    class: &'static str,
    config: Map<String, Value>,
    tensors: BTreeMap<String, TensorData>,
}

fn write_own(model: &Model) -> Result<Written, InterchangeError> {
    Ok(Written {
        class: own::CLASS,
        config: own::config(&model.plan)?,
        tensors: own::tensors(model.weights.iter().cloned().collect()),
    })
}

/// The model as a peer: its configuration with our sizes is read back, and the plan it makes must be ours.
fn write_peer(peer: &dyn Peer, model: &Model) -> Result<Written, InterchangeError> {
    let mut config = peer.write(&model.plan);
    config.insert("model_type".to_owned(), json!(peer.name()));
    let refused = |reasons: Vec<String>| InterchangeError::OtherFunction {
        class: peer.class(),
        reasons,
    };
    let fields = Fields::new(Path::new(CONFIG), config.clone());
    let (sizes, scheme) = peer
        .read(&fields)
        .map_err(|e| refused(vec![e.to_string()]))?;
    let theirs = Plan::new(&sizes, scheme.strategy()).map_err(|e| refused(vec![e.to_string()]))?;
    let reasons = same::differences(&model.plan, &theirs);
    if !reasons.is_empty() {
        return Err(refused(reasons));
    }
    let (settled, weights) = settle(&model.plan, model.weights.clone())?;
    let mut weights: BTreeMap<_, _> = weights.into_iter().collect();
    if settled.dims().positions == Positions::Rope
        && theirs.dims().positions == Positions::RopeHalves
    {
        turn(&mut weights, settled.dims().head);
    }
    let dtype = weights.values().next().map(TensorData::dtype);
    for spec in theirs.params() {
        let neutral = if spec.path.rsplit('.').next() == Some("bias") {
            0.0
        } else {
            1.0
        };
        weights.entry(spec.path.clone()).or_insert_with(|| {
            let values = vec![neutral; spec.len()];
            let data = TensorData::new(values, spec.shape.clone());
            data.convert_dtype(dtype.unwrap_or(burn::tensor::DType::F32))
        });
    }
    Ok(Written {
        class: peer.class(),
        config,
        tensors: rows::write(&peer.rows(), &theirs, weights),
    })
}

/// Puts the channels of each head of q and k in the order of a rotation that turns `(i, i + K/2)`.
fn turn(weights: &mut BTreeMap<String, TensorData>, head: usize) {
    for (path, data) in weights.iter_mut() {
        let Some((_, part)) = path.split_once(".attn.") else {
            continue;
        };
        let of_scores = part.starts_with("q.") || part.starts_with("k.");
        let of_output = !part.ends_with("before.value");
        if let (true, Some(channels)) = (of_scores && of_output, data.shape().last().copied()) {
            *data = ordered(data, &halves(channels, head));
        }
    }
}
