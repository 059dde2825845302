//! How far a result is from its reference.

/// Part of the largest reference value of a kind below which errors count as absolute.
const FLOOR: f64 = 0.01;

/// The largest error among the tensors of one kind, and the tensor that has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Worst {
    /// `max |a - b| / max(max |b|, 0.01 * largest |b| of the kind)`.
    pub error: f64,
    /// Name of the tensor, in the names of the source.
    pub tensor: String,
}

/// Largest magnitude; a number that is none counts as infinite, so that it can't pass.
pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| {
        if v.is_nan() {
            f64::INFINITY
        } else {
            m.max(v.abs())
        }
    })
}

/// Compares tensors of one kind: name, result, reference.
pub(super) fn worst<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a [f64], &'a [f64])> + Clone,
) -> Worst {
    let kind = pairs
        .clone()
        .into_iter()
        .fold(0.0, |m: f64, (_, _, b)| m.max(largest(b)));
    let mut worst = Worst::default();
    for (name, a, b) in pairs {
        let scale = largest(b).max(FLOOR * kind).max(f64::MIN_POSITIVE);
        let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let error = if a.len() == b.len() {
            largest(&difference) / scale
        } else {
            f64::INFINITY
        };
        if error >= worst.error {
            worst = Worst {
                error,
                tensor: name.to_owned(),
            };
        }
    }
    worst
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tensors_are_measured_against_the_kind() {
        let found = worst([
            ("big", &[10.0][..], &[10.0][..]),
            ("small", &[0.002], &[0.001]),
        ]);
        assert_eq!(found.tensor, "small");
        assert!((found.error - 0.01).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_number_or_missing_fails() {
        assert!(
            worst([("a", &[f64::NAN][..], &[1.0][..])])
                .error
                .is_infinite()
        );
        assert!(worst([("a", &[][..], &[1.0][..])]).error.is_infinite());
    }
}
