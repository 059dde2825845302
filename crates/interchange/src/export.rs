//! From a plan and its weights to a folder of `transformers`.

use crate::error::InterchangeError;
use crate::fields::Fields;
use crate::folder::{CONFIG, Draft, TOKENIZER, object};
use crate::layout::{halves, ordered};
use crate::peer::{self, Peer};
use crate::template::{Around, beginning_with};
use crate::texts::{ABOUT_TOKENIZER, GENERATION, Texts};
use crate::{own, rows, same};
use burn::tensor::TensorData;
use evenburn_model::{Dims, Plan, Positions, resolve_scales};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A model to export: plan, weights, tokenizer, and how its texts begin and end.
#[derive(Debug)]
pub struct ExportModel {
    /// Its plan.
    pub plan: Plan,
    /// Every parameter of the plan, by path.
    pub weights: Vec<(String, TensorData)>,
    /// The text of `tokenizer.json`, if it goes along.
    pub tokenizer: Option<String>,
    /// How texts begin and end.
    pub ends: Ends,
}

/// A token of a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its text.
    pub name: String,
    /// Its id.
    pub id: u32,
}

/// How the texts of a model begin and end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ends {
    /// Not known: no special token is named.
    Unknown,
    /// The tokens between which documents lay when the model was trained here. The exported tokenizer puts in front of a text
    /// what stood there in training.
    Trained {
        /// The token that began every document, where there was one.
        begin: Option<Token>,
        /// The token that ended every document, and stood before the next one where nothing else did.
        end: Token,
    },
    /// Those of the checkpoint that the model was imported from, written as they were.
    Imported(Box<Texts>),
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

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The class that loads it.
    pub class: &'static str,
    /// Tensors in the folder.
    pub tensors: usize,
    /// What became of the tokenizer's template, in a sentence; `None` without a tokenizer.
    pub template: Option<String>,
}

/// Writes a folder that `transformers` loads with `AutoModelForCausalLM`, complete or not at all.
///
/// # Errors
/// [`InterchangeError::OtherFunction`] when the class that was asked for can't compute the plan, with the places where they
/// differ, or when no class can;
/// [`InterchangeError::Malformed`] when something is at `folder` already.
pub fn export(
    model: &ExportModel,
    target: &Target,
    folder: &Path,
) -> Result<Exported, InterchangeError> {
    let written = match target {
        Target::Own => write_own(model)?,
        Target::Peer(name) => {
            let peer = peer::of(name).ok_or_else(|| InterchangeError::Inexpressible {
                path: folder.to_owned(),
                what: format!("class `{name}`"),
                why: peer::why_not(name, "written"),
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
    let dtype = match tensors.values().next().map(TensorData::dtype) {
        Some(burn::tensor::DType::F64) => "float64",
        _ => "float32",
    };
    let text = text_files(model)?;
    for (key, value) in [
        ("architectures", json!([class])),
        ("dtype", json!(dtype)),
        ("use_cache", json!(true)),
    ]
    .into_iter()
    .chain(ids(&model.ends))
    {
        config.insert(key.to_owned(), value);
    }
    let draft = Draft::begin(folder)?;
    draft.json(CONFIG, &config)?;
    draft.tensors(&tensors)?;
    if class == own::CLASS {
        draft.text(&format!("{}.py", own::MODULE), own::CODE)?;
    }
    for (name, content) in &text.files {
        draft.text(name, content)?;
    }
    draft.finish()?;
    Ok(Exported {
        class,
        tensors: tensors.len(),
        template: text.template,
    })
}

/// The special ids in a configuration. All are written, null too: a class has its own defaults.
fn ids(ends: &Ends) -> [(&'static str, Value); 3] {
    let (bos, eos, pad) = match ends {
        Ends::Unknown => (Value::Null, Value::Null, Value::Null),
        Ends::Trained { begin, end } => {
            let first = begin.as_ref().unwrap_or(end);
            (json!(first.id), json!(end.id), Value::Null)
        }
        Ends::Imported(texts) => (
            json!(texts.bos_token_id),
            json!(texts.eos_token_id),
            json!(texts.pad_token_id),
        ),
    };
    [
        ("bos_token_id", bos),
        ("eos_token_id", eos),
        ("pad_token_id", pad),
    ]
}

/// The files about text, and what became of the tokenizer's template.
struct TextFiles {
    files: BTreeMap<String, String>,
    template: Option<String>,
}

fn text_files(model: &ExportModel) -> Result<TextFiles, InterchangeError> {
    let mut files = BTreeMap::new();
    let mut template = None;
    let about = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.plan.dims().context,
    });
    match (&model.ends, &model.tokenizer) {
        (Ends::Imported(texts), tokenizer) => {
            files.extend(texts.beside().map(|(n, text)| (n.clone(), text.clone())));
            if let Some(json) = tokenizer {
                let around = Around::of(&object(Path::new(TOKENIZER), json)?);
                template = Some(format!(
                    "the imported tokenizer is kept, which {}",
                    around.done()
                ));
                files.insert(TOKENIZER.to_owned(), json.clone());
            }
        }
        (Ends::Trained { begin, end }, tokenizer) => {
            let first = begin.as_ref().unwrap_or(end);
            let generation = json!({ "bos_token_id": first.id, "eos_token_id": end.id });
            files.insert(GENERATION.to_owned(), pretty(&generation));
            if let Some(json) = tokenizer {
                let (written, found) = beginning_with(first, json)?;
                let now = format!(
                    "the exported tokenizer puts {} before a text, as in training",
                    first.name
                );
                template = Some(match written == *json {
                    true => format!("{now}: its template, {found}, is kept"),
                    false if found == Around::default() => {
                        format!("{now}: a template that does is written")
                    }
                    false => format!("{now}: its template, {found}, is dropped for one that does"),
                });
                let mut about = about;
                about["bos_token"] = json!(first.name);
                about["eos_token"] = json!(end.name);
                files.insert(ABOUT_TOKENIZER.to_owned(), pretty(&about));
                files.insert(TOKENIZER.to_owned(), written);
            }
        }
        (Ends::Unknown, Some(json)) => {
            let around = Around::of(&object(Path::new(TOKENIZER), json)?);
            template = Some(format!("the tokenizer is kept, which {}", around.done()));
            files.insert(ABOUT_TOKENIZER.to_owned(), pretty(&about));
            files.insert(TOKENIZER.to_owned(), json.clone());
        }
        (Ends::Unknown, None) => {}
    }
    Ok(TextFiles { files, template })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

struct Written {
    class: &'static str,
    config: Map<String, Value>,
    tensors: BTreeMap<String, TensorData>,
}

fn write_own(model: &ExportModel) -> Result<Written, InterchangeError> {
    Ok(Written {
        class: own::CLASS,
        config: own::config(&model.plan)?,
        tensors: own::tensors(model.weights.iter().cloned().collect()),
    })
}

/// The model as a peer: its configuration with our sizes is read back, and the plan it makes must be ours.
fn write_peer(peer: &dyn Peer, model: &ExportModel) -> Result<Written, InterchangeError> {
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
    let theirs = scheme
        .plan(&sizes)
        .map_err(|e| refused(vec![e.to_string()]))?;
    let reasons = same::differences(&model.plan, &theirs);
    if !reasons.is_empty() {
        return Err(refused(reasons));
    }
    let (resolved, weights) = resolve_scales(&model.plan, model.weights.clone())?;
    let mut weights: BTreeMap<_, _> = weights.into_iter().collect();
    if resolved.dims().positions == Positions::Rope
        && theirs.dims().positions == Positions::RopeHalves
    {
        turn(&mut weights, resolved.dims());
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

/// Puts the channels of each head of q and k in the order of a rotation that turns `(i, i + R/2)` of the `R` that turn.
fn turn(weights: &mut BTreeMap<String, TensorData>, dims: &Dims) {
    for (path, data) in weights.iter_mut() {
        let Some((_, part)) = path.split_once(".attn.") else {
            continue;
        };
        let of_scores = part.starts_with("q.") || part.starts_with("k.");
        let of_output = !part.ends_with("before.value");
        if let (true, Some(channels)) = (of_scores && of_output, data.shape().last().copied()) {
            *data = ordered(data, &halves(channels, dims.head, dims.rope_channels()));
        }
    }
}
