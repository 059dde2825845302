//! Dropout whose every draw follows from a seed and a counter, so that a resumed run draws what the first would have.

use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Seed and counters of the dropout of a forward pass: each training step, and each micro-batch of it, has draws of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the step.
    pub step: u64,
    /// Number of the micro-batch in the step.
    pub part: u64,
}

/// Dropout at the places of one block.
#[derive(Debug, Clone)]
pub struct Dropout {
    rate: f64,
    noise: Noise,
    block: String,
}

impl Dropout {
    /// Dropout of a rate in `[0, 1)`; none where the rate is 0 or no draws are given.
    pub(crate) fn new(rate: f64, noise: Option<Noise>) -> Option<Self> {
        let noise = noise.filter(|_| rate > 0.0)?;
        let block = String::new();
        Some(Self { rate, noise, block })
    }

    /// The same for another block.
    pub(crate) fn at(&self, block: usize) -> Self {
        Self {
            block: format!("blocks.{block}."),
            ..self.clone()
        }
    }

    /// `x` with each entry set to 0 with the rate's probability, and the others divided by one minus the rate.
    ///
    /// # Shapes
    /// - `x`: any
    /// - output: that of `x`
    ///
    /// Source: Srivastava et al., *Dropout* (2014), in the inverted form that every framework has.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, place: &str) -> Tensor<D> {
        let Noise { seed, step, part } = self.noise;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let name = format!("dropout.{}{place}.{step}.{part}", self.block);
        rng.set_stream(xxh3_64_with_seed(name.as_bytes(), step));
        let (shape, dtype, device) = (x.shape(), x.dtype(), x.device());
        let keep = (1.0 / (1.0 - self.rate)) as f32;
        let mask: Vec<f32> = (0..shape.num_elements())
            .map(|_| {
                let dropped = rng.random::<f32>() < self.rate as f32;
                if dropped { 0.0 } else { keep }
            })
            .collect();
        let mask = TensorData::new(mask, shape).convert_dtype(dtype);
        x * Tensor::from_data(mask, (&device, dtype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn drop(noise: Noise, block: usize, place: &str) -> Vec<f32> {
        let dropout = Dropout::new(0.25, Some(noise)).unwrap().at(block);
        let x = Tensor::<1>::ones([20_000], &Device::flex());
        dropout.forward(x, place).into_data().try_to_vec().unwrap()
    }

    const NOISE: Noise = Noise {
        seed: 1,
        step: 2,
        part: 3,
    };

    #[test]
    fn the_rate_is_kept_and_the_mean_too() {
        let y = drop(NOISE, 0, "attn");
        let zeros = y.iter().filter(|v| **v == 0.0).count() as f64 / 20_000.0;
        // Four standard deviations of a mean of 20,000 draws.
        assert!((zeros - 0.25).abs() < 4.0 * (0.25_f64 * 0.75 / 20_000.0).sqrt());
        assert!(y.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
    }

    #[test]
    fn draws_follow_from_what_they_are_for() {
        let first = drop(NOISE, 0, "attn");
        assert_eq!(first, drop(NOISE, 0, "attn"));
        let others = [
            drop(NOISE, 1, "attn"),
            drop(NOISE, 0, "mlp"),
            drop(Noise { seed: 9, ..NOISE }, 0, "attn"),
            drop(Noise { step: 9, ..NOISE }, 0, "attn"),
            drop(Noise { part: 9, ..NOISE }, 0, "attn"),
        ];
        assert!(others.iter().all(|other| *other != first));
        assert!(Dropout::new(0.0, Some(NOISE)).is_none() && Dropout::new(0.5, None).is_none());
    }
}
