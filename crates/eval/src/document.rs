//! A document of a data set and where it lies.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Where in a file a document lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// A line, from 1.
    Line(u64),
    /// A row of a table, from 0.
    Row(u64),
}

/// The place of a document, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file or address.
    pub path: Arc<Path>,
    /// Where in it.
    pub position: Position,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.position {
            Position::Line(line) => write!(f, "{path}, line {line}"),
            Position::Row(row) => write!(f, "{path}, row {row}"),
        }
    }
}

/// One record of a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its fields, as the data set has them.
    pub fields: Map<String, Value>,
    /// Where it lies.
    pub place: Place,
}
