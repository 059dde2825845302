//! A checkpoint on disk: `config.json` and safetensors, in one file or in shards with an index.

use crate::error::InterchangeError;
use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The key of `config.json` that names another file of weights, or another index.
const NAMED_BY: &str = "transformers_weights";

/// The object in a JSON file.
pub(crate) fn json(path: &Path) -> Result<Map<String, Value>, InterchangeError> {
    let text = fs::read_to_string(path).map_err(|e| InterchangeError::io("read", path, e))?;
    object(path, &text)
}

/// The object in the text of a JSON file.
pub(crate) fn object(path: &Path, text: &str) -> Result<Map<String, Value>, InterchangeError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(InterchangeError::malformed(path, "it is no JSON object")),
        Err(e) => Err(InterchangeError::malformed(path, e.to_string())),
    }
}

/// The text of a file beside the weights, where there is one.
pub(crate) fn text(folder: &Path, name: &str) -> Result<Option<String>, InterchangeError> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(InterchangeError::io("read", &path, e)),
    }
}

/// The files that hold the tensors: the one that `config.json` names, else the single file, else those of the index. An
/// index that was left behind when the shards became one file is not read.
///
/// `has` says whether a file of this name is there, or will be.
pub(crate) fn files(
    folder: &Path,
    config: &Map<String, Value>,
    has: impl Fn(&str) -> bool,
) -> Result<Vec<PathBuf>, InterchangeError> {
    let named = config.get(NAMED_BY).and_then(Value::as_str);
    let found = match named {
        Some(name) => Some(name),
        None => [WEIGHTS, INDEX].into_iter().find(|name| has(name)),
    };
    let Some(found) = found else {
        let why = format!(
            "it has neither {WEIGHTS} nor {INDEX}; weights of another format have to be saved as safetensors first"
        );
        return Err(InterchangeError::malformed(folder, why));
    };
    let place = within(folder, found)
        .ok_or_else(|| outside(&folder.join(CONFIG), NAMED_BY, &json!(found)))?;
    if !found.ends_with(".index.json") {
        return Ok(vec![place]);
    }
    let map = json(&place)?;
    let names = map
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| InterchangeError::malformed(&place, "`weight_map` is no object"))?;
    let shards: BTreeSet<PathBuf> = names
        .iter()
        .map(|(name, file)| {
            let shard = file.as_str().and_then(|file| within(folder, file));
            shard.ok_or_else(|| outside(&place, name, file))
        })
        .collect::<Result<_, _>>()?;
    Ok(shards.into_iter().collect())
}

/// A file by a name that may not lead out of the folder: such a name would read other files of the machine.
fn within(folder: &Path, name: &str) -> Option<PathBuf> {
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let inside = !name.is_empty() && Path::new(name).components().all(plain);
    inside.then(|| folder.join(name))
}

fn outside(file: &Path, key: &str, name: &Value) -> InterchangeError {
    InterchangeError::malformed(
        file,
        format!("`{key}` is {name}, which names no file in the folder"),
    )
}

/// What the files of a folder hold.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Tensors of floating-point numbers, in f32, or in f64 where they are stored so.
    pub(crate) floats: BTreeMap<String, TensorData>,
    /// Types of the others: the masks and counters that some classes store beside their parameters.
    pub(crate) others: BTreeMap<String, String>,
}

/// Every tensor of a folder; names that an index has and no file does are left to whoever needs them.
pub(crate) fn tensors(
    folder: &Path,
    config: &Map<String, Value>,
) -> Result<Stored, InterchangeError> {
    let mut all = Stored::default();
    for path in files(folder, config, |name| folder.join(name).is_file())? {
        let bytes = fs::read(&path).map_err(|e| InterchangeError::io("read", &path, e))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| InterchangeError::malformed(&path, e.to_string()))?;
        for (name, view) in file.iter() {
            let stored = match view.dtype() {
                Dtype::F64 => DType::F64,
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                other => {
                    all.others.insert(name.to_owned(), format!("{other:?}"));
                    continue;
                }
            };
            let data =
                TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), stored);
            let data = match stored {
                DType::F64 => data,
                _ => data.convert_dtype(DType::F32),
            };
            all.floats.insert(name.to_owned(), data);
        }
    }
    Ok(all)
}

/// A checkpoint that is written: it appears complete or not at all.
#[derive(Debug)]
pub(crate) struct Draft(evenburn_files::Draft);

impl Draft {
    /// Begins a folder; nothing may be at its place.
    pub(crate) fn begin(place: &Path) -> Result<Self, InterchangeError> {
        if fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()) || place.is_file()
        {
            let why = "it already exists; name another folder";
            return Err(InterchangeError::malformed(place, why));
        }
        Ok(Self(evenburn_files::Draft::begin(place)?))
    }

    pub(crate) fn text(&self, name: &str, text: &str) -> Result<(), InterchangeError> {
        let path = self.0.path().join(name);
        fs::write(&path, text).map_err(|e| InterchangeError::io("write", &path, e))
    }

    pub(crate) fn json(
        &self,
        name: &str,
        map: &Map<String, Value>,
    ) -> Result<(), InterchangeError> {
        let text = serde_json::to_string_pretty(map)
            .map_err(|e| InterchangeError::malformed(&self.0.path().join(name), e.to_string()))?;
        self.text(name, &(text + "\n"))
    }

    pub(crate) fn tensors(
        &self,
        all: &BTreeMap<String, TensorData>,
    ) -> Result<(), InterchangeError> {
        let path = self.0.path().join(WEIGHTS);
        let views = all
            .iter()
            .map(|(name, data)| {
                let dtype = match data.dtype() {
                    DType::F64 => Dtype::F64,
                    DType::F16 => Dtype::F16,
                    DType::BF16 => Dtype::BF16,
                    DType::F32 => Dtype::F32,
                    other => return Err(format!("{name} has type {other:?}")),
                };
                let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes());
                Ok((name.as_str(), view.map_err(|e| format!("{name}: {e}"))?))
            })
            .collect::<Result<Vec<_>, String>>()
            .map_err(|why| InterchangeError::malformed(&path, why))?;
        // `transformers` wants to be told which library's layout it is.
        let about = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize_to_file(views, Some(about), &path)
            .map_err(|e| InterchangeError::malformed(&path, e.to_string()))
    }

    /// Moves the folder to its place.
    pub(crate) fn finish(self) -> Result<(), InterchangeError> {
        Ok(self.0.finish()?)
    }
}
