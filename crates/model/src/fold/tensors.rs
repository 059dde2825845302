//! Named matrices and vectors in f64.

use crate::error::WeightsError;
use crate::function::Function;
use burn::tensor::{DType, TensorData};
use std::collections::BTreeMap;

/// The parameters of a decoder in f64 by path; the rows of a matrix run along its input.
pub(super) struct Tensors {
    arrays: BTreeMap<String, Array>,
    dtype: DType,
}

struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Tensors {
    pub(super) fn new(named: Vec<(String, TensorData)>) -> Result<Self, WeightsError> {
        let dtype = named.first().map_or(DType::F32, |(_, data)| data.dtype());
        let arrays = named
            .into_iter()
            .map(|(path, data)| {
                let shape = data.shape().to_vec();
                let unreadable = |_| WeightsError::Path { path: path.clone() };
                let values = data.convert::<f64>().try_to_vec().map_err(unreadable)?;
                Ok((path, Array { shape, values }))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { arrays, dtype })
    }

    /// Everything, in the number format it came in.
    pub(super) fn finish(self) -> BTreeMap<String, TensorData> {
        let dtype = self.dtype;
        self.arrays
            .into_iter()
            .map(|(path, a)| {
                let data = TensorData::new(a.values, a.shape).convert_dtype(dtype);
                (path, data)
            })
            .collect()
    }

    /// Removes an array; empty where there is none of that path.
    pub(super) fn take(&mut self, path: &str) -> Vec<f64> {
        self.arrays.remove(path).map_or_else(Vec::new, |a| a.values)
    }

    /// Removes the layer at `at` if its function is a scale of channels with the arrays it has, and returns that.
    pub(super) fn scale_of(&mut self, at: &str, function: &Function) -> Option<Vec<f64>> {
        let values = |name: &str| {
            let array = self.arrays.get(&format!("{at}.{name}"));
            array.map_or_else(Vec::new, |a| a.values.clone())
        };
        let scale = function.as_scale(&values)?;
        let (inside, bias) = (format!("{at}."), format!("{at}.bias"));
        self.arrays
            .retain(|path, _| !path.starts_with(&inside) || *path == bias);
        Some(scale)
    }

    pub(super) fn set_vector(&mut self, path: String, values: Vec<f64>) {
        let shape = vec![values.len()];
        self.arrays.insert(path, Array { shape, values });
    }

    /// Multiplies every entry.
    pub(super) fn scale(&mut self, path: &str, factor: f64) {
        if let Some(array) = self.arrays.get_mut(path) {
            array.values.iter_mut().for_each(|v| *v *= factor);
        }
    }

    /// Multiplies entries along the last axis: the columns of a matrix, the entries of a vector.
    pub(super) fn last(&mut self, path: &str, by: &[f64]) {
        if let Some(array) = self.arrays.get_mut(path) {
            for (i, v) in array.values.iter_mut().enumerate() {
                *v *= by[i % by.len()];
            }
        }
    }

    /// Multiplies the rows of a matrix.
    pub(super) fn rows(&mut self, path: &str, by: &[f64]) {
        if let Some(array) = self.arrays.get_mut(path) {
            let width = array.shape.last().copied().unwrap_or(1);
            for (i, v) in array.values.iter_mut().enumerate() {
                *v *= by[(i / width) % by.len()];
            }
        }
    }

    /// A row vector times a matrix.
    pub(super) fn product(&self, row: &[f64], path: &str) -> Vec<f64> {
        let Some(array) = self.arrays.get(path) else {
            return Vec::new();
        };
        let width = array.shape.last().copied().unwrap_or(1);
        let mut sum = vec![0.0; width];
        for (row, values) in row.iter().zip(array.values.chunks(width)) {
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += row * value;
            }
        }
        sum
    }

    /// Adds a matrix that is the transpose of another.
    pub(super) fn transpose(&mut self, from: &str, to: &str) {
        let Some(Array { shape, values }) = self.arrays.get(from) else {
            return;
        };
        let (rows, columns) = (shape[0], shape[1]);
        let turned = (0..columns)
            .flat_map(|c| (0..rows).map(move |r| values[r * columns + c]))
            .collect();
        let turned = Array {
            shape: vec![columns, rows],
            values: turned,
        };
        self.arrays.insert(to.to_owned(), turned);
    }
}
