//! The scalar part of an engine's state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How often an engine, and each of its parameters, has been stepped.
///
/// A parameter's count is below the engine's if it was frozen for a while; `AdamW`'s bias
/// correction follows the parameter's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Steps of the engine.
    pub step: u64,
    /// Steps of each parameter that has state, by path.
    pub parameters: BTreeMap<String, u64>,
}
