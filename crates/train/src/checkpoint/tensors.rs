//! Named tensors to and from `.safetensors`.

use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::Named;

/// Writes tensors in an order that depends on their names and types alone.
pub(super) fn write(path: &Path, tensors: &[Named]) -> Result<(), String> {
    let views = tensors
        .iter()
        .map(|(name, data)| {
            let dtype = to_file(data.dtype())
                .ok_or_else(|| format!("{name} has type {:?}", data.dtype()))?;
            let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes())
                .map_err(|e| format!("{name}: {e}"))?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>, String>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(|e| e.to_string())
}

/// Reads every tensor of a file.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Named>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut tensors = file
        .iter()
        .map(|(name, view)| {
            let dtype = from_file(view.dtype())
                .ok_or_else(|| format!("{name} has type {:?}", view.dtype()))?;
            let data =
                TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
            Ok((name.to_owned(), data))
        })
        .collect::<Result<Vec<_>, String>>()?;
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors)
}

const TYPES: [(DType, Dtype); 12] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::I16, Dtype::I16),
    (DType::I8, Dtype::I8),
    (DType::U64, Dtype::U64),
    (DType::U32, Dtype::U32),
    (DType::U16, Dtype::U16),
    (DType::U8, Dtype::U8),
];

fn to_file(dtype: DType) -> Option<Dtype> {
    TYPES
        .iter()
        .find(|(burn, _)| *burn == dtype)
        .map(|(_, file)| *file)
}

fn from_file(dtype: Dtype) -> Option<DType> {
    TYPES
        .iter()
        .find(|(_, file)| *file == dtype)
        .map(|(burn, _)| *burn)
}
