//! Rotary position embedding on interleaved pairs.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// Cosines and sines for a range of positions.
///
/// Pair `i` of a head of width `K` turns by `position * theta^(-2i/K)`:
/// `(x0, x1) -> (x0 cos - x1 sin, x0 sin + x1 cos)`. Angles are computed in f64.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// `[1 or B, 1, T, K / 2, 1]`
    cos: Tensor<5>,
    /// `[1 or B, 1, T, K / 2, 1]`
    sin: Tensor<5>,
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
            let data = TensorData::new(values, [1, 1, len, pairs, 1]).convert_dtype(dtype);
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
        let pairs = self.cos.dims()[3];
        let index = positions.reshape([b * t]);
        let pick = |table: &Tensor<5>| {
            table
                .clone()
                .select(2, index.clone())
                .reshape([b, 1, t, pairs, 1])
        };
        Self {
            cos: pick(&self.cos),
            sin: pick(&self.sin),
        }
    }

    /// Turns every head of `x`, shape `[B, H, T, K]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [b, h, t, k] = x.dims();
        let pairs: Tensor<5> = x.reshape([b, h, t, k / 2, 2]);
        let first = pairs.clone().narrow(4, 0, 1);
        let second = pairs.narrow(4, 1, 1);
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        let turned = Tensor::cat(
            vec![
                first.clone() * cos.clone() - second.clone() * sin.clone(),
                first * sin + second * cos,
            ],
            4,
        );
        turned.reshape([b, h, t, k])
    }
}
