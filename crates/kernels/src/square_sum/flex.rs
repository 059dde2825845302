//! Squares summed in one pass.

use crate::flex::extension::Fused;
use crate::flex::simd::{dot, simd};
use crate::flex::{PIECE, contiguous, tensor, values};
use crate::profile::{Pass, Work, span};
use burn::backend::Dispatch;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

pub(super) fn dispatch<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::fused_square_sum(x.into_dispatch()))
}

simd! {
    fn square_of(x: &[f32]) -> f32 {
        dot(x, x)
    }
}

pub(crate) fn forward(x: FlexTensor) -> FlexTensor {
    let x = contiguous(x);
    let n = values(&x).len();
    let _span = span(|| Work {
        operation: "square_sum",
        pass: Pass::Update,
        shape: vec![n],
        multiplications: 0,
        numbers: n,
    });
    // Pieces are joined in order, in double precision.
    let parts: Vec<f32> = values(&x).par_chunks(PIECE).map(square_of).collect();
    let sum: f64 = parts.into_iter().map(f64::from).sum();
    tensor(vec![sum as f32], [1])
}
