//! Initial weights, a pure function of the seed and the parameter's path.

use crate::plan::Init;
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use evenburn_geometry::Axis;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use xxhash_rust::xxh3::xxh3_64;

/// Draws matrices on the host, so that every device starts from the same numbers.
///
/// Each matrix has a ChaCha stream of its own, chosen by its path: two schemes with the same seed start from the
/// same directions, whatever other parameters they have.
#[derive(Debug, Clone, Copy)]
pub struct Initializer {
    seed: u64,
}

impl Initializer {
    /// An initializer whose draws all follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The initial matrix of the parameter at `path`, `[in, out]`.
    pub fn matrix(
        self,
        path: &str,
        init: Init,
        shape: [usize; 2],
        device: &Device,
    ) -> Param<Tensor<2>> {
        let values: Vec<f32> = self
            .draw(path, init, shape)
            .into_iter()
            .map(|v| v as f32)
            .collect();
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
    }

    fn draw(self, path: &str, init: Init, [rows, columns]: [usize; 2]) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(xxh3_64(path.as_bytes()));
        let normals = StandardNormal.sample_iter(rng);
        let count = rows * columns;
        match init {
            Init::Normal { std } => normals.take(count).map(|z: f64| z * std).collect(),
            Init::TruncatedNormal { std, cut } => normals
                .filter(|z: &f64| z.abs() <= cut)
                .take(count)
                .map(|z| z * std)
                .collect(),
            Init::UnitSphere { along } => {
                let mut values: Vec<f64> = normals.take(count).collect();
                let slice = |i: usize| match along {
                    Axis::In => i % columns,
                    Axis::Out => i / columns,
                };
                let mut squares = vec![0.0; if along == Axis::In { columns } else { rows }];
                for (i, v) in values.iter().enumerate() {
                    squares[slice(i)] += v * v;
                }
                for (i, v) in values.iter_mut().enumerate() {
                    *v /= squares[slice(i)].sqrt();
                }
                values
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(path: &str, init: Init) -> Vec<f64> {
        Initializer::new(7).draw(path, init, [200, 50])
    }

    #[test]
    fn deviations_are_the_plans() {
        let std = |v: &[f64]| (v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64).sqrt();
        let normal = draw("a", Init::Normal { std: 0.02 });
        assert!((std(&normal) / 0.02 - 1.0).abs() < 0.03);
        let cut = draw("a", Init::TruncatedNormal { std: 1.0, cut: 1.0 });
        assert!(cut.iter().all(|v| v.abs() <= 1.0));
        // Variance of a standard normal cut at one deviation.
        assert!((std(&cut) - 0.539_6).abs() < 0.01);
    }

    #[test]
    fn paths_have_streams_of_their_own() {
        let init = Init::Normal { std: 1.0 };
        assert_eq!(draw("a", init), draw("a", init));
        assert_ne!(draw("a", init), draw("b", init));
    }

    #[test]
    fn sphere_slices_have_length_one_along_their_axis() {
        let values = draw("a", Init::UnitSphere { along: Axis::In });
        for column in 0..50 {
            let square: f64 = (0..200).map(|row| values[row * 50 + column].powi(2)).sum();
            assert!((square - 1.0).abs() < 1e-12);
        }
    }
}
