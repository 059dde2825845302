//! A checkpoint on disk: `config.json` and safetensors, in one file or in shards with an index.

use crate::error::InterchangeError;
use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The object in a JSON file.
pub(crate) fn json(path: &Path) -> Result<Map<String, Value>, InterchangeError> {
    let text = fs::read(path).map_err(|e| InterchangeError::io("read", path, e))?;
    match serde_json::from_slice(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(InterchangeError::malformed(path, "it is no JSON object")),
        Err(e) => Err(InterchangeError::malformed(path, e.to_string())),
    }
}

/// The files that hold the tensors, and the tensors that an index says are in them.
fn shards(folder: &Path) -> Result<(Vec<PathBuf>, Option<BTreeSet<String>>), InterchangeError> {
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Ok((vec![folder.join(WEIGHTS)], None));
    }
    let map = json(&index)?;
    let names = map
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| InterchangeError::malformed(&index, "`weight_map` is no object"))?;
    let mut files = BTreeSet::new();
    for (name, file) in names {
        // A name with a folder in it would read files of somebody else.
        let plain = file
            .as_str()
            .filter(|f| Path::new(f).file_name().is_some_and(|own| own == *f));
        let file = plain.ok_or_else(|| {
            InterchangeError::malformed(
                &index,
                format!("`{name}` is in {file}, which is no file name"),
            )
        })?;
        files.insert(folder.join(file));
    }
    Ok((
        files.into_iter().collect(),
        Some(names.keys().cloned().collect()),
    ))
}

/// Every tensor of a folder, in f32, or in f64 where it is stored so.
pub(crate) fn tensors(folder: &Path) -> Result<BTreeMap<String, TensorData>, InterchangeError> {
    let (files, indexed) = shards(folder)?;
    let mut all = BTreeMap::new();
    for path in files {
        let bytes = fs::read(&path).map_err(|e| InterchangeError::io("read", &path, e))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| InterchangeError::malformed(&path, e.to_string()))?;
        for (name, view) in file.iter() {
            let stored = match view.dtype() {
                Dtype::F64 => DType::F64,
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                // Masks and counters that some classes store beside their parameters.
                Dtype::BOOL | Dtype::U8 | Dtype::I64 => continue,
                other => {
                    let why = format!("{name} has type {other:?}");
                    return Err(InterchangeError::malformed(&path, why));
                }
            };
            let data =
                TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), stored);
            let data = match stored {
                DType::F64 => data,
                _ => data.convert_dtype(DType::F32),
            };
            all.insert(name.to_owned(), data);
        }
    }
    if let Some(absent) = indexed.and_then(|names| names.into_iter().find(|n| !all.contains_key(n)))
    {
        let why = format!("`{absent}` is in none of the files");
        return Err(InterchangeError::malformed(&folder.join(INDEX), why));
    }
    Ok(all)
}

/// A folder that appears under its name complete or not at all.
#[derive(Debug)]
pub(crate) struct Draft {
    aside: PathBuf,
    place: PathBuf,
}

impl Draft {
    /// Begins a folder; nothing may be at its place.
    pub(crate) fn begin(place: &Path) -> Result<Self, InterchangeError> {
        if fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()) || place.is_file()
        {
            let why = "it already exists; name another folder";
            return Err(InterchangeError::malformed(place, why));
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let aside = place.with_file_name(format!(".{name}.new-{}", std::process::id()));
        fs::create_dir_all(&aside).map_err(|e| InterchangeError::io("create", &aside, e))?;
        Ok(Self {
            aside,
            place: place.to_owned(),
        })
    }

    pub(crate) fn text(&self, name: &str, text: &str) -> Result<(), InterchangeError> {
        let path = self.aside.join(name);
        fs::write(&path, text).map_err(|e| InterchangeError::io("write", &path, e))
    }

    pub(crate) fn json(
        &self,
        name: &str,
        map: &Map<String, Value>,
    ) -> Result<(), InterchangeError> {
        let text = serde_json::to_string_pretty(map)
            .map_err(|e| InterchangeError::malformed(&self.aside.join(name), e.to_string()))?;
        self.text(name, &(text + "\n"))
    }

    pub(crate) fn tensors(
        &self,
        all: &BTreeMap<String, TensorData>,
    ) -> Result<(), InterchangeError> {
        let path = self.aside.join(WEIGHTS);
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
        // An empty folder may stand there: on some systems a rename does not replace it.
        if self.place.is_dir() {
            fs::remove_dir(&self.place)
                .map_err(|e| InterchangeError::io("replace", &self.place, e))?;
        }
        fs::rename(&self.aside, &self.place)
            .map_err(|e| InterchangeError::io("create", &self.place, e))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Only what was not finished is still there.
        let _ = fs::remove_dir_all(&self.aside);
    }
}
