//! Where each value of a configuration came from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// A line of a configuration file.
    File {
        /// The file, as it was named.
        file: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// An override on the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// The origin of every key that was set; all others have their default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Where the value of a key came from.
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    pub(super) fn set(&mut self, key: String, origin: Origin) {
        self.0.insert(key, origin);
    }
}
