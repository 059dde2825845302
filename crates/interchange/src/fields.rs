//! Reading the keys of a `config.json`, each mistake with its name.

use crate::error::InterchangeError;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A `config.json`.
#[derive(Debug)]
pub(crate) struct Fields {
    path: PathBuf,
    map: Map<String, Value>,
}

impl Fields {
    pub(crate) fn new(path: &Path, map: Map<String, Value>) -> Self {
        Self {
            path: path.to_owned(),
            map,
        }
    }

    fn wrong(&self, key: &str, why: String) -> InterchangeError {
        InterchangeError::Key {
            path: self.path.clone(),
            key: key.to_owned(),
            why,
        }
    }

    /// What the key's value asks for is nothing that a plan could say.
    pub(crate) fn inexpressible(&self, key: &str, why: &str) -> InterchangeError {
        let value = self.map.get(key).map_or(Value::Null, Value::clone);
        InterchangeError::Inexpressible {
            path: self.path.clone(),
            what: format!("`{key}` = {value}"),
            why: why.to_owned(),
        }
    }

    /// The value of a key; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether a key is there and has no value.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(Value::is_null)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        what: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, InterchangeError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(found) => Ok(Some(found)),
                None => Err(self.wrong(key, format!("must be {what}, not {value}"))),
            },
        }
    }

    /// A size, if there is one.
    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, InterchangeError> {
        self.typed(key, "a whole number", |v| {
            v.as_u64().and_then(|n| usize::try_from(n).ok())
        })
    }

    /// A size that has to be there.
    pub(crate) fn required(&self, key: &str) -> Result<usize, InterchangeError> {
        self.size(key)?
            .ok_or_else(|| self.wrong(key, "is missing".to_owned()))
    }

    /// A number, or the class's default.
    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64, InterchangeError> {
        Ok(self
            .typed(key, "a number", Value::as_f64)?
            .unwrap_or(default))
    }

    /// A switch, or the class's default.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, InterchangeError> {
        Ok(self
            .typed(key, "true or false", Value::as_bool)?
            .unwrap_or(default))
    }

    /// A text, or the class's default.
    pub(crate) fn text<'a>(
        &'a self,
        key: &str,
        default: &'a str,
    ) -> Result<&'a str, InterchangeError> {
        Ok(self.typed(key, "a text", Value::as_str)?.unwrap_or(default))
    }

    /// The text of a key that has to be there.
    pub(crate) fn required_text(&self, key: &str) -> Result<&str, InterchangeError> {
        self.typed(key, "a text", Value::as_str)?
            .ok_or_else(|| self.wrong(key, "is missing".to_owned()))
    }

    /// The first of the ids that end a text.
    pub(crate) fn end_of_text(&self) -> Option<u64> {
        match self.get("eos_token_id")? {
            Value::Array(ids) => ids.first()?.as_u64(),
            id => id.as_u64(),
        }
    }

    /// Refuses the keys that would change what the model computes; `harmless` says which value doesn't.
    pub(crate) fn refuse(
        &self,
        key: &str,
        harmless: impl Fn(&Value) -> bool,
        why: &str,
    ) -> Result<(), InterchangeError> {
        match self.get(key) {
            Some(value) if !harmless(value) => Err(self.inexpressible(key, why)),
            _ => Ok(()),
        }
    }
}
