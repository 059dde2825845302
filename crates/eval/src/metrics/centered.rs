//! Accuracy between guessing and knowing.

/// Accuracy as DCLM's CORE centers it: 0 for guessing, 1 for knowing all. `chance` is the mean over documents of one
/// by the number of their choices. None where guessing is always right.
///
/// ```
/// use evenburn_eval::centered;
/// assert_eq!(centered(0.25, 0.25), Some(0.0));
/// assert_eq!(centered(1.0, 0.5), Some(1.0));
/// assert_eq!(centered(1.0, 1.0), None);
/// ```
pub fn centered(accuracy: f64, chance: f64) -> Option<f64> {
    (chance < 1.0).then(|| (accuracy - chance) / (1.0 - chance))
}
