//! The standard error of a perplexity, by drawing documents anew.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::mean::deviation;
use crate::python::Random;

/// Chunks, each with a generator of its own that its number seeds.
const CHUNKS: u64 = 100;
/// How often a chunk draws as many documents as there are.
const REPLICATES: usize = 1000;

/// The deviation of the perplexity over 100,000 draws of as many documents as there are, none for a single one. It is
/// the same every time, on any number of threads.
///
/// ```
/// use evenburn_eval::perplexity_stderr;
/// let stderr = perplexity_stderr(&[-1.0, -2.5, -0.5]).unwrap();
/// assert!((stderr - 2.327651549036).abs() < 1e-9);
/// assert_eq!(perplexity_stderr(&[-1.0]), None);
/// ```
pub fn perplexity_stderr(log_likelihoods: &[f64]) -> Option<f64> {
    let count = log_likelihoods.len();
    if count < 2 {
        return None;
    }
    let chunk = |seed| {
        let mut random = Random::new(seed);
        let mut replicates = Vec::with_capacity(REPLICATES);
        for _ in 0..REPLICATES {
            let mut sum = 0.0;
            for _ in 0..count {
                sum += log_likelihoods[random.choice(count)];
            }
            replicates.push((-sum / count as f64).exp());
        }
        replicates
    };
    let chunks: Vec<_> = (0..CHUNKS).into_par_iter().map(chunk).collect();
    Some(deviation(&chunks.concat()))
}
