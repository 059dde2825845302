//! A case as it lies on disk.

use anyhow::{Context, Result, bail, ensure};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// A tensor of a case, widened to f64 (integers too: they are small).
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
    /// Entries, row by row.
    pub values: Vec<f64>,
}

/// A case: its description and its tensors by name.
#[derive(Debug)]
pub struct Case {
    /// File name without extension.
    pub name: String,
    /// The JSON description.
    pub config: Map<String, Value>,
    tensors: BTreeMap<String, Array>,
}

impl Case {
    /// Reads `NAME.json` and the `NAME.safetensors` beside it.
    ///
    /// # Errors
    /// When a file is missing, is not of its format, or has a tensor of an unexpected type.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let config = serde_json::from_str(&text).context("the description is not a JSON object")?;
        let numbers = path.with_extension("safetensors");
        let bytes = std::fs::read(&numbers)?;
        let file = SafeTensors::deserialize(&bytes)
            .with_context(|| format!("{}: not a safetensors file", numbers.display()))?;
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| Ok((name.clone(), widen(&view).context(name)?)))
            .collect::<Result<_>>()?;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Ok(Self {
            name,
            config,
            tensors,
        })
    }

    /// A tensor by its full name.
    ///
    /// # Errors
    /// When the case has none of that name.
    pub fn tensor(&self, name: &str) -> Result<&Array> {
        self.tensors
            .get(name)
            .with_context(|| format!("no tensor `{name}`"))
    }

    /// Names, without the prefix, of the tensors that begin with it.
    pub fn names(&self, prefix: &str) -> Vec<&str> {
        self.tensors
            .keys()
            .filter_map(|name| name.strip_prefix(prefix))
            .collect()
    }

    /// A list of numbers of the description.
    ///
    /// # Errors
    /// When it is missing or not a list of numbers.
    pub fn list(&self, key: &str) -> Result<Vec<f64>> {
        let list = self
            .config
            .get(key)
            .and_then(Value::as_array)
            .with_context(|| format!("no list `{key}`"))?;
        list.iter()
            .map(|v| v.as_f64().with_context(|| format!("`{key}` holds {v}")))
            .collect()
    }
}

fn widen(view: &TensorView<'_>) -> Result<Array> {
    fn read<const N: usize>(bytes: &[u8], f: fn([u8; N]) -> f64) -> Result<Vec<f64>> {
        let (chunks, rest) = bytes.as_chunks::<N>();
        ensure!(
            rest.is_empty(),
            "{} bytes are not whole numbers of {N}",
            bytes.len()
        );
        Ok(chunks.iter().map(|c| f(*c)).collect())
    }
    let values = match view.dtype() {
        Dtype::F32 => read(view.data(), |b| f64::from(f32::from_le_bytes(b)))?,
        Dtype::F64 => read(view.data(), f64::from_le_bytes)?,
        Dtype::I32 => read(view.data(), |b| f64::from(i32::from_le_bytes(b)))?,
        Dtype::I64 => read(view.data(), |b| i64::from_le_bytes(b) as f64)?,
        other => bail!("unexpected number format {other:?}"),
    };
    Ok(Array {
        shape: view.shape().to_vec(),
        values,
    })
}
