//! How often a source of a mixture is drawn from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A weight that stays, or weights that each hold from a number of trained tokens on. Of several sources, each has the share
/// of samples that is its weight over the sum of all.
///
/// ```
/// use evenburn_data::Weight;
/// let weight: Weight = serde_json::from_str("[[0, 1.0], [1000, 0.25]]").unwrap();
/// assert_eq!([0, 999, 1000, 5000].map(|tokens| weight.at(tokens)), [1.0, 1.0, 0.25, 0.25]);
/// assert_eq!(serde_json::from_str::<Weight>("2").unwrap(), Weight::Constant(2.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "a weight is a number, or pairs of tokens and a number such as [[0, 1.0], [1000000, 0.5]]"
)]
pub enum Weight {
    /// At every time.
    Constant(f64),
    /// Pairs of tokens, the first of 0 and then growing, and the weight from there on.
    Steps(Vec<(u64, f64)>),
}

impl Default for Weight {
    fn default() -> Self {
        Self::Constant(1.0)
    }
}

impl Weight {
    /// The weight of the sample before which so many tokens are trained.
    pub fn at(&self, tokens: u64) -> f64 {
        match self {
            Self::Constant(weight) => *weight,
            Self::Steps(steps) => {
                let after = steps.partition_point(|(from, _)| *from <= tokens);
                steps[..after].last().map_or(0.0, |(_, weight)| *weight)
            }
        }
    }

    /// Where it changes.
    pub(super) fn changes(&self) -> impl Iterator<Item = u64> + '_ {
        let steps = match self {
            Self::Constant(_) => &[][..],
            Self::Steps(steps) => steps,
        };
        steps.iter().map(|(from, _)| *from)
    }

    /// Whether it says a weight for every time.
    ///
    /// # Errors
    /// In words.
    pub(super) fn check(&self) -> Result<(), String> {
        let values: Vec<f64> = match self {
            Self::Constant(weight) => vec![*weight],
            Self::Steps(steps) => {
                if steps.first().is_none_or(|(from, _)| *from != 0) {
                    return Err("must begin with a pair [0, WEIGHT]".into());
                }
                if let Some(pair) = steps.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
                    let (before, from) = (pair[0].0, pair[1].0);
                    return Err(format!(
                        "changes at {from} tokens after {before}, which must grow"
                    ));
                }
                steps.iter().map(|(_, weight)| *weight).collect()
            }
        };
        match values.into_iter().find(|w| !(w.is_finite() && *w >= 0.0)) {
            Some(bad) => Err(format!("must be a finite number of at least 0, not {bad}")),
            None => Ok(()),
        }
    }
}
