//! Mixtures of experts as version 5 of `transformers` holds them in memory: the matrices of all experts in one tensor. It
//! writes each expert by itself, but reads both.

use burn::tensor::TensorData;
use std::collections::BTreeMap;

/// What a class calls the parts of a mixture where each expert's matrices stand alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    /// The module that holds router and experts; `mlp` in memory.
    pub(crate) module: &'static str,
    /// The matrices of an expert.
    pub(crate) gate: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
}

/// Takes fused experts apart; other tensors stay as they are.
pub(crate) fn apart(
    stored: BTreeMap<String, TensorData>,
    names: Names,
) -> BTreeMap<String, TensorData> {
    let mut found = BTreeMap::new();
    for (name, data) in stored {
        let stem = |end: &str| name.strip_suffix(end);
        // `[E, 2 F, D]`, the gates before what they gate, and `[E, D, F]`.
        let matrices = if let Some(stem) = stem("mlp.experts.gate_up_proj") {
            Some((stem, vec![names.gate, names.up]))
        } else {
            stem("mlp.experts.down_proj").map(|stem| (stem, vec![names.down]))
        };
        match (matrices, stem("mlp.gate.weight")) {
            (Some((stem, matrices)), _) if data.shape().len() == 3 => {
                let parts = parts(&data, matrices.len());
                for (number, part) in parts.into_iter().enumerate() {
                    let (expert, matrix) = (number / matrices.len(), number % matrices.len());
                    let (module, matrix) = (names.module, matrices[matrix]);
                    found.insert(
                        format!("{stem}{module}.experts.{expert}.{matrix}.weight"),
                        part,
                    );
                }
            }
            (None, Some(stem)) => {
                found.insert(format!("{stem}{}.gate.weight", names.module), data);
            }
            _ => {
                found.insert(name, data);
            }
        }
    }
    found
}

/// The matrices in a tensor of three axes, each cut into `count` of as many rows.
fn parts(data: &TensorData, count: usize) -> Vec<TensorData> {
    let shape = data.shape();
    let (rows, columns) = (shape[1] / count, shape[2]);
    let bytes = rows * columns * data.dtype().size();
    if bytes == 0 {
        return Vec::new();
    }
    let matrix = |bytes: &[u8]| {
        TensorData::from_bytes_vec(bytes.to_vec(), vec![rows, columns], data.dtype())
    };
    data.as_bytes().chunks_exact(bytes).map(matrix).collect()
}
