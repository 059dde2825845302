//! How near a number has to be.

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// They are the same.
    Same,
    /// Their difference, to the expected one where that is above 1.
    Near(f64),
    /// The same of their logarithms.
    Log(f64),
    /// Their difference, to the expected one.
    Part(f64),
}

/// Of log-likelihoods and means of them.
pub(super) const LIKELIHOOD: Rule = Rule::Near(1e-5);

/// Of sums in another order.
const ROUNDED: Rule = Rule::Near(1e-12);

/// Of a standard error by chance.
const BOOTSTRAP: Rule = Rule::Part(1e-2);

impl Rule {
    /// Of a number of a task, by its name.
    pub(super) fn of(metric: &str) -> Self {
        match metric {
            "perplexity_stderr" => BOOTSTRAP,
            "acc" | "acc_norm" | "acc_bytes" => Self::Same,
            name if name.ends_with("_stderr") => ROUNDED,
            name if name.ends_with("perplexity") => Self::Log(1e-5),
            _ => LIKELIHOOD,
        }
    }

    /// Of a number of a group: a mean of means is rounded.
    pub(super) fn of_group(metric: &str) -> Self {
        match Self::of(metric) {
            Self::Same => ROUNDED,
            rule => rule,
        }
    }

    /// How far they are apart, and how far they may be.
    pub(super) fn apart(self, found: f64, wanted: f64) -> (f64, f64) {
        let near = |a: f64, b: f64| (a - b).abs() / b.abs().max(1.0);
        match self {
            Self::Same => ((found - wanted).abs(), 0.0),
            Self::Near(limit) => (near(found, wanted), limit),
            Self::Log(limit) => (near(found.ln(), wanted.ln()), limit),
            Self::Part(limit) => {
                let wanted_size = wanted.abs().max(f64::MIN_POSITIVE);
                ((found - wanted).abs() / wanted_size, limit)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_depends_on_the_number() {
        let within = |metric, found, wanted| {
            let (apart, limit) = Rule::of(metric).apart(found, wanted);
            apart <= limit
        };
        for (metric, wanted, near, far) in [
            ("acc", 0.25, 0.25, 0.250_000_1),
            ("acc_stderr", 0.05, 0.05 + 1e-13, 0.05 + 1e-11),
            ("word_perplexity", 1e30, 1.0005e30, 1.001e30),
            ("perplexity_stderr", 1e12, 1.009e12, 1.02e12),
            ("bits_per_byte", 4.0, 4.000_03, 4.000_05),
            ("bits_per_byte_with_space", 0.5, 0.500_009, 0.500_02),
        ] {
            assert!(within(metric, near, wanted), "{metric}");
            assert!(!within(metric, far, wanted), "{metric}");
            assert!(!within(metric, f64::NAN, wanted), "{metric}");
        }
        assert!(within("perplexity_stderr", 0.0, 0.0));
        assert_eq!(Rule::of_group("acc"), ROUNDED);
        assert_eq!(Rule::of_group("acc_stderr"), ROUNDED);
    }
}
