//! The closed set of recipes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Adam, Muon};

/// How a gradient becomes a step.
///
/// ```
/// use evenburn_optim::{Adam, Muon, Recipe};
///
/// assert_eq!(Recipe::AdamW(Adam::default()).name(), "adamw");
/// assert_eq!(Recipe::Muon(Muon::default()).name(), "muon");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "recipe", rename_all = "snake_case")]
pub enum Recipe {
    /// [`Adam`]'s direction with decoupled weight decay.
    #[serde(rename = "adamw")]
    AdamW(Adam),
    /// [`Adam`]'s direction; weight decay is refused.
    Adam(Adam),
    /// [`Muon`], with decoupled weight decay; for matrices only.
    Muon(Muon),
}

impl Recipe {
    /// The name used in configurations and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AdamW(_) => "adamw",
            Self::Adam(_) => "adam",
            Self::Muon(_) => "muon",
        }
    }

    /// What is kept between steps for each parameter: tensors of the parameter's shape.
    pub fn state_names(&self) -> &'static [&'static str] {
        match self {
            Self::AdamW(_) | Self::Adam(_) => &["m", "v"],
            Self::Muon(_) => &["m"],
        }
    }
}
