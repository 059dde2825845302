//! What the papers prove about their schemes, checked in f64 on random models and random inputs.

mod cancellation;
mod concentration;
mod deep_linear;
mod geodesic;
mod hessian;
mod invariance;
mod orthogonality;
mod siamese;
mod stream;

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Normal numbers that a seed decides.
pub(crate) struct Normal(ChaCha8Rng);

impl Normal {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn next(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }

    /// A tensor in f64 whose entries have this deviation.
    pub(crate) fn tensor<const D: usize>(
        &mut self,
        shape: [usize; D],
        deviation: f64,
        device: &Device,
    ) -> Tensor<D> {
        let count = shape.iter().product();
        let values = self.take(count).into_iter().map(|v| v * deviation);
        double(values.collect(), shape, device)
    }
}

/// A tensor in f64.
pub(crate) fn double<const D: usize>(
    values: Vec<f64>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F64))
}

/// Euclidean length.
fn length(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
