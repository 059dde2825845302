//! Rotary position embedding.
//!
//! `B` batch, `T` time, `K` head width, `R` channels of a head that turn.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use evenburn_kernels::rotary;

/// A rotary position embedding: cosines and sines for a range of positions. It has no parameters and needs no plan.
///
/// The first `R` of the `K` channels of a head turn, and the others stay; `R = K` turns the whole head. Which channels make
/// pair `i` is the layout's choice. It turns by `position * theta^(-2i/R)`:
/// `(x0, x1) -> (x0 cos - x1 sin, x0 sin + x1 cos)`. Angles are computed in f64.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// `[T or B T, R / 2]`
    cos: Tensor<2>,
    /// `[T or B T, R / 2]`
    sin: Tensor<2>,
    layout: Layout,
}

/// Which channels turn together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `(2 i, 2 i + 1)`.
    Neighbours,
    /// `(i, i + R/2)`.
    Halves,
}

impl Rotary {
    /// Tables for `len` positions from `start` that turn the first `channels` of a head (even), in the number format `dtype`.
    pub fn new(
        start: usize,
        len: usize,
        channels: usize,
        theta: f64,
        layout: Layout,
        dtype: DType,
        device: &Device,
    ) -> Self {
        let pairs = channels / 2;
        let angles: Vec<f64> = (start..start + len)
            .flat_map(|position| {
                (0..pairs)
                    .map(move |i| position as f64 * theta.powf(-2.0 * i as f64 / channels as f64))
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
            layout,
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
            layout: self.layout,
        }
    }

    /// Turns the pairs of each of the `heads` heads of `x` by the angles of its position.
    ///
    /// # Shapes
    /// - `x`: `[B, T, heads K]`
    /// - output: that of `x`
    pub fn forward(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        let [b, t, width] = x.dims();
        let (head, turned) = (width / heads, 2 * self.cos.dims()[1]);
        match self.layout {
            Layout::Neighbours => rotary(x, self.cos.clone(), self.sin.clone(), heads),
            Layout::Halves if turned == head => self.halves(x, heads),
            Layout::Halves => {
                let x: Tensor<4> = x.reshape([b, t, heads, head]);
                let rest = x.clone().narrow(3, turned, head - turned);
                let first = x.narrow(3, 0, turned).reshape([b, t, heads * turned]);
                let first: Tensor<4> = self.halves(first, heads).reshape([b, t, heads, turned]);
                Tensor::cat(vec![first, rest], 3).reshape([b, t, width])
            }
        }
    }

    /// Turns all channels of `x`, pairs half a head apart.
    fn halves(&self, x: Tensor<3>, heads: usize) -> Tensor<3> {
        let y = rotary(
            swapped(x, heads, 2),
            self.cos.clone(),
            self.sin.clone(),
            heads,
        );
        let pairs = self.cos.dims()[1];
        swapped(y, heads, pairs)
    }
}

/// Reads each head as a matrix of `rows` rows and transposes it: with 2 rows, halves become neighbours; with R/2 rows,
/// neighbours become halves.
fn swapped(x: Tensor<3>, heads: usize, rows: usize) -> Tensor<3> {
    let [b, t, channels] = x.dims();
    let columns = channels / heads / rows;
    let split: Tensor<5> = x.reshape([b, t, heads, rows, columns]);
    split.swap_dims(3, 4).reshape([b, t, channels])
}
