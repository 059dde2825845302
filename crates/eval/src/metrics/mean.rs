//! Means, their standard errors, perplexity.

/// The mean of some values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The deviation of a sample, which divides by one less than there are values.
pub(super) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The standard error of a mean; none of a single value.
///
/// ```
/// use evenburn_eval::stderr_of_mean;
/// assert_eq!(stderr_of_mean(&[0.0, 1.0, 1.0, 0.0]), Some((1.0_f64 / 3.0).sqrt() / 2.0));
/// assert_eq!(stderr_of_mean(&[1.0]), None);
/// ```
pub fn stderr_of_mean(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| deviation(values) / (values.len() as f64).sqrt())
}

/// The perplexity of log-likelihoods, a mean over texts, however many tokens they have.
pub fn perplexity(log_likelihoods: &[f64]) -> f64 {
    (-mean(log_likelihoods)).exp()
}
