//! Which choice is the likeliest?

/// The place of the largest value, the first of equal ones.
pub(crate) fn first_best(values: impl IntoIterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (i, value) in values.into_iter().enumerate() {
        if value > best.1 {
            best = (i, value);
        }
    }
    best.0
}

/// A log-likelihood by the length of its text; of none at all it is the worst.
pub(crate) fn per_length(log_likelihood: f64, length: usize) -> f64 {
    if length == 0 {
        f64::NEG_INFINITY
    } else {
        log_likelihood / length as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_ones_is_best() {
        assert_eq!(first_best([-2.0, -1.0, -1.0]), 1);
        assert_eq!(first_best([f64::NEG_INFINITY; 2]), 0);
        assert_eq!(first_best([per_length(-9.0, 0), per_length(-9.0, 2)]), 1);
    }
}
