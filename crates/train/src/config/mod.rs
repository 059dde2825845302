//! The configuration of a run: one TOML file, overrides, and where each value came from.

mod before;
mod choice;
mod device_list;
mod keys;
mod load;
mod origins;
mod read;
mod sections;

pub use device_list::{DeviceId, DeviceList};
pub use keys::{Key, Kind, Tag, keys};
pub use load::Resolved;
pub(crate) use load::sets_other_recipes;
pub use origins::{Origin, Origins};
pub use sections::{
    DeviceName, MetricsConfig, PrecisionName, RanksConfig, RunSection, TrainConfig,
};

use evenburn_data::DataConfig;
use evenburn_eval::EvalConfig;
use evenburn_model::{ModelConfig, Scheme};
use evenburn_optim::{OptimConfig, OptimError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;

/// Everything a run is made from. Each section belongs to the crate that reads it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Where the run lives.
    pub run: RunSection,
    /// Sizes of the decoder.
    pub model: ModelConfig,
    /// Normalization scheme and its options; which there are, a registry knows, and reads them.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    pub norm: Scheme,
    /// Optimizer recipe, its options and the schedule; which recipes there are, a registry knows, and reads them.
    pub optim: OptimConfig,
    /// Text, tokenizer and packing.
    pub data: DataConfig,
    /// Budget and loop.
    pub train: TrainConfig,
    /// How ranks work together.
    pub ranks: RanksConfig,
    /// What is measured.
    pub metrics: MetricsConfig,
    /// Benchmarks on the way.
    pub eval: EvalConfig,
}

impl RunConfig {
    /// Names of the sections, in the order they are written.
    pub const SECTIONS: [&'static str; 9] = [
        "run", "model", "norm", "optim", "data", "train", "ranks", "metrics", "eval",
    ];

    /// The configuration as TOML, every key that has a value included.
    ///
    /// # Errors
    /// [`TrainError::Unwritable`] if a section holds something TOML can't express.
    pub fn to_toml(&self) -> Result<String, TrainError> {
        toml::to_string_pretty(self).map_err(|e| TrainError::Unwritable {
            what: "the configuration",
            why: e.to_string(),
        })
    }

    /// Every key that has a value with that value, by dotted path.
    ///
    /// # Errors
    /// [`TrainError::Unwritable`] if a section holds something TOML can't express.
    pub fn flatten(&self) -> Result<std::collections::BTreeMap<String, toml::Value>, TrainError> {
        let table = toml::Table::try_from(self).map_err(|e| TrainError::Unwritable {
            what: "the configuration",
            why: e.to_string(),
        })?;
        let mut flat = std::collections::BTreeMap::new();
        flatten_into("", table, &mut flat);
        Ok(flat)
    }

    /// Tokens that one evaluation batch reads: `batch_size` samples of `context` tokens, and the last one's target.
    pub fn evaluation_batch(&self) -> u64 {
        (self.train.batch_size as u64)
            .saturating_mul(self.model.context as u64)
            .saturating_add(1)
    }

    /// Checks what no type can. Sizes of the model are checked by its plan, the text by whoever reads it.
    ///
    /// A configuration may lack a budget as long as nobody trains with it.
    ///
    /// # Errors
    /// [`TrainError::Invalid`] names the key; [`TrainError::Optim`] a schedule that doesn't fit the budget.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.train.validate()?;
        self.ranks.validate()?;
        self.metrics.validate()?;
        let steps = match (self.train.steps, self.train.tokens) {
            (None, None) => return Ok(()),
            _ => self.train.total_steps(self.model.context)?,
        };
        self.optim.check(steps).map_err(|error| match error {
            OptimError::Config { key, reason } => {
                TrainError::invalid(format!("optim.{key}"), reason)
            }
            other => other.into(),
        })
    }
}

fn flatten_into(
    prefix: &str,
    table: toml::Table,
    flat: &mut std::collections::BTreeMap<String, toml::Value>,
) {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            toml::Value::Table(inner) => flatten_into(&path, inner, flat),
            value => {
                flat.insert(path, value);
            }
        }
    }
}
