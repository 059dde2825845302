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

    /// Gives keys that have a second name their first; where a file has both, the second counts, as in `transformers`.
    pub(crate) fn rename(&mut self, names: &[(&str, &str)]) {
        for (second, first) in names {
            if let Some(value) = self.map.remove(*second) {
                self.map.insert((*first).to_owned(), value);
            }
        }
    }

    /// All keys.
    pub(crate) fn map(&self) -> &Map<String, Value> {
        &self.map
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
        let what = match self.map.get(key) {
            Some(value) => format!("`{key}` = {value}"),
            None => format!("`{key}`, which is left out and has a default,"),
        };
        InterchangeError::Inexpressible {
            path: self.path.clone(),
            what,
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

    /// The value of a key as `read` takes it.
    pub(crate) fn typed<'a, T>(
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

    /// A size, or the class's default.
    pub(crate) fn size_or(&self, key: &str, default: usize) -> Result<usize, InterchangeError> {
        Ok(self.size(key)?.unwrap_or(default))
    }

    /// A size that a class may lack: null says that it does, and only an absent key has the class's default.
    pub(crate) fn optional_size(
        &self,
        key: &str,
        default: Option<usize>,
    ) -> Result<Option<usize>, InterchangeError> {
        if self.is_null(key) {
            return Ok(None);
        }
        Ok(self.size(key)?.or(default))
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
