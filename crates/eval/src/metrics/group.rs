//! The results of several tasks as one.

/// The standard error of an unweighted mean over tasks; none where a task has none.
pub(crate) fn stderr_of_group(stderrs: &[Option<f64>]) -> Option<f64> {
    let squares: Option<f64> = stderrs.iter().map(|stderr| stderr.map(|e| e * e)).sum();
    squares.map(|sum| sum.sqrt() / stderrs.len() as f64)
}
