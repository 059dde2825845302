//! Gradients by path, and models whose learned vectors are random.

use crate::theory::Normal;
use burn::tensor::{Device, Int, Tensor, TensorData};
use evenburn_model::{Decoder, Plan};

pub(crate) use evenburn_conformance::{by_path, values, with};

/// A decoder in f64 that a seed decides: its matrices as the plan draws them, its learned vectors away from where they
/// start.
pub(crate) fn random_decoder(plan: &Plan, seed: u64, device: &Device) -> Decoder {
    let model = Decoder::new(plan, seed, device);
    let mut draw = Normal::new(seed);
    let mut all = values(&model);
    for spec in plan.params() {
        if spec.shape.len() == 1 {
            for v in all.get_mut(&spec.path).unwrap() {
                let z = 0.2 * draw.next();
                // What starts at zero is added, the rest multiplies.
                *v = if *v == 0.0 { z } else { *v * z.exp() };
            }
        }
    }
    with(model, &all)
}

/// Random tokens `[B, T]`.
pub(crate) fn random_tokens(
    shape: [usize; 2],
    vocab: usize,
    seed: u64,
    device: &Device,
) -> Tensor<2, Int> {
    let mut draw = Normal::new(seed);
    let count = shape[0] * shape[1];
    let values: Vec<i32> = (0..count)
        .map(|_| (draw.next().abs() * 1e6) as i32 % vocab as i32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
