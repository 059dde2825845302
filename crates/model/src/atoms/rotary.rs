//! Rotary position embedding on interleaved pairs.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use evenburn_kernels::rotary;

/// Cosines and sines for a range of positions.
///
/// Pair `i` of a head of width `K` turns by `position * theta^(-2i/K)`:
/// `(x0, x1) -> (x0 cos - x1 sin, x0 sin + x1 cos)`. Angles are computed in f64.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// `[T or B T, K / 2]`
    cos: Tensor<2>,
    /// `[T or B T, K / 2]`
    sin: Tensor<2>,
}

impl Rotary {
    /// Tables for `len` positions from `start`, heads of width `head` (even), in the number format `dtype`.
    pub fn new(
        start: usize,
        len: usize,
        head: usize,
        theta: f64,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let pairs = head / 2;
        let angles: Vec<f64> = (start..start + len)
            .flat_map(|position| {
                (0..pairs).map(move |i| position as f64 * theta.powf(-2.0 * i as f64 / head as f64))
            })
            .collect();
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().copied().map(f).collect();
            let data = TensorData::new(values, [len, pairs]).convert_dtype(dtype);
            Tensor::from_data(data, (device, dtype))
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// The same tables with each position of a batch at a place of its own, `positions [B, T]`, counted from the
    /// first position of this table.
    pub fn at(&self, positions: Tensor<2, Int>) -> Self {
        let [b, t] = positions.dims();
        let index = positions.reshape([b * t]);
        Self {
            cos: self.cos.clone().select(0, index.clone()),
            sin: self.sin.clone().select(0, index),
        }
    }

    /// Turns each of the `heads` heads of `x`, shape `[B, T, heads K]`.
    pub fn forward(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        rotary(x, self.cos.clone(), self.sin.clone(), heads)
    }
}
