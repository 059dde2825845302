//! From answers to numbers.

mod accuracy;
mod bits;
mod bootstrap;
mod centered;
mod group;
mod mean;

use serde::Serialize;

pub(crate) use accuracy::{first_best, per_length};
pub(crate) use bits::bits_per_byte;
pub use bootstrap::perplexity_stderr;
pub use centered::centered;
pub(crate) use group::stderr_of_group;
pub use mean::{mean, perplexity, stderr_of_mean};

/// A number and how sure it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// What it measures.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// Its standard error, where there is one.
    pub stderr: Option<f64>,
}

impl Metric {
    /// The mean of a value a document, with its standard error.
    pub(crate) fn of_mean(name: &'static str, values: &[f64]) -> Self {
        Self {
            name,
            value: mean(values),
            stderr: stderr_of_mean(values),
        }
    }
}
