//! The sources of a mixture in a configuration: `[[data.sources]]`.

use std::collections::{BTreeSet, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Weight;
use crate::{DataConfig, DataError, PathList};

/// A source of a mixture: a table of `data.sources`.
///
/// ```
/// use evenburn_data::{DataConfig, SourceConfig};
/// let config: DataConfig = serde_json::from_value(serde_json::json!({
///     "sources": [
///         { "name": "web", "path": "web/*.jsonl.zst", "weight": 3 },
///         { "name": "code", "path": "code", "weight": [[0, 0.5], [1_000_000, 2]], "text_field": "content" },
///     ],
/// })).unwrap();
/// config.validate().unwrap();
/// assert_eq!(config.of_source(&config.sources[1]).text_field, "content");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// What its metrics are called by: letters, digits, `_` and `-`.
    pub name: String,
    /// Its training text, as `data.path`.
    pub path: PathList,
    /// Its validation text, as `data.validation_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_path: Option<PathList>,
    /// How often it is drawn from, compared with the others.
    #[serde(default)]
    pub weight: Weight,
    /// The field or column of its text; `data.text_field` if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// Which configuration of its repository, as `data.config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

impl DataConfig {
    /// The configuration of one source by itself: the common keys, and what its table says. Each source has an equal part of
    /// the room on the disk, and all are tokenized ahead where one is.
    #[must_use]
    pub fn of_source(&self, source: &SourceConfig) -> Self {
        Self {
            path: source.path.clone(),
            validation_path: source.validation_path.clone(),
            text_field: source
                .text_field
                .as_ref()
                .unwrap_or(&self.text_field)
                .clone(),
            config: source.config.clone(),
            prepare: Some(self.prepares()),
            cache_bytes: self.cache_bytes / self.sources.len().max(1) as u64,
            sources: Vec::new(),
            ..self.clone()
        }
    }

    /// Checks the tables of a mixture.
    pub(crate) fn check_sources(&self) -> Result<(), DataError> {
        let error = |index: usize, key: &str, why: String| {
            DataError::config(format!("data.sources[{index}].{key}"), why)
        };
        if !self.path.0.is_empty() {
            return Err(DataError::config(
                "data.sources",
                "names the text, and so does data.path; give one of them",
            ));
        }
        if self.validation_path.is_some() {
            return Err(DataError::config(
                "data.validation_path",
                "goes with data.path; each of data.sources has a validation_path of its own",
            ));
        }
        if self.config.is_some() {
            return Err(DataError::config(
                "data.config",
                "goes with data.path; each of data.sources has a config of its own",
            ));
        }
        let mut names = HashSet::new();
        for (index, source) in self.sources.iter().enumerate() {
            let name = &source.name;
            let simple = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || !name.chars().all(simple) {
                let why = format!("is `{name}`, must be letters, digits, `_` and `-`");
                return Err(error(index, "name", why));
            }
            if !names.insert(name) {
                return Err(error(
                    index,
                    "name",
                    format!("is `{name}`, as another one's"),
                ));
            }
            source
                .weight
                .check()
                .map_err(|why| error(index, "weight", why))?;
            let own = ["path", "validation_path", "text_field", "config"];
            self.of_source(source).validate().map_err(|e| match e {
                DataError::Config { field, message } => {
                    match own.iter().find(|key| field == format!("data.{key}")) {
                        Some(key) => error(index, key, message),
                        None => DataError::Config { field, message },
                    }
                }
                other => other,
            })?;
        }
        self.check_weights()
    }

    /// At every time some source has to be drawn from.
    fn check_weights(&self) -> Result<(), DataError> {
        let changes = self
            .sources
            .iter()
            .flat_map(|source| source.weight.changes());
        let times: BTreeSet<u64> = changes.chain([0]).collect();
        for tokens in times {
            let sum: f64 = self.sources.iter().map(|s| s.weight.at(tokens)).sum();
            if !(sum.is_finite() && sum > 0.0) {
                let why = format!("the weights sum to {sum} from {tokens} tokens on");
                return Err(DataError::config("data.sources", why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn source(name: &str, weight: Weight) -> SourceConfig {
        SourceConfig {
            name: name.into(),
            path: "a.txt".into(),
            weight,
            ..SourceConfig::default()
        }
    }

    fn mixture(sources: Vec<SourceConfig>) -> DataConfig {
        DataConfig {
            sources,
            ..DataConfig::default()
        }
    }

    #[test]
    fn what_makes_no_mixture_is_refused_with_its_key() {
        use Weight::{Constant, Steps};
        let good = || source("a", Constant(1.0));
        mixture(vec![good(), source("b", Constant(0.0))])
            .validate()
            .unwrap();
        mixture(vec![
            source("a", Steps(vec![(0, 0.0), (9, 1.0)])),
            source("b", Steps(vec![(0, 1.0), (9, 0.0)])),
        ])
        .validate()
        .unwrap();
        let fails = |config: &DataConfig, key: &str| {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("{key}: ")), "{message}");
        };
        for weight in [
            Constant(-1.0),
            Constant(f64::NAN),
            Constant(f64::INFINITY),
            Steps(vec![]),
            Steps(vec![(1, 1.0)]),
            Steps(vec![(0, 1.0), (0, 2.0)]),
            Steps(vec![(0, 1.0), (5, 2.0), (4, 3.0)]),
            Steps(vec![(0, 1.0), (5, -2.0)]),
        ] {
            let config = mixture(vec![good(), good(), source("c", weight)]);
            let config = DataConfig {
                sources: config.sources.into_iter().skip(1).collect(),
                ..config
            };
            fails(&config, "data.sources[1].weight");
        }
        let never = Steps(vec![(0, 1.0), (7, 0.0)]);
        fails(&mixture(vec![source("a", Constant(0.0))]), "data.sources");
        fails(&mixture(vec![source("a", never)]), "data.sources");
        let many = [Constant(f64::MAX), Constant(f64::MAX)];
        let many = many.into_iter().zip(["a", "b"]);
        let many = many.map(|(weight, name)| source(name, weight));
        fails(&mixture(many.collect()), "data.sources");
        for name in ["", "a b", "a/b", "{a}", "ü"] {
            fails(
                &mixture(vec![source(name, Constant(1.0))]),
                "data.sources[0].name",
            );
        }
        fails(&mixture(vec![good(), good()]), "data.sources[1].name");
        let mut config = mixture(vec![good()]);
        config.sources[0].path = PathList::default();
        fails(&config, "data.sources[0].path");
        let mut config = mixture(vec![good()]);
        config.path = "b.txt".into();
        fails(&config, "data.sources");
        config.path = PathList::default();
        config.validation_path = Some("b.txt".into());
        fails(&config, "data.validation_path");
    }

    #[test]
    fn tables_are_read_and_written() {
        let read = |sources: &str| {
            serde_json::from_str::<DataConfig>(&format!(r#"{{"sources": [{sources}]}}"#))
        };
        let text = r#"{"name": "a", "path": "x", "weight": 2}, {"name": "b", "path": ["y", "z"], "weight": [[0, 1], [7, 0.5]]}"#;
        let config = read(text).unwrap();
        config.validate().unwrap();
        assert_eq!(config.sources[0].weight, Weight::Constant(2.0));
        assert_eq!(
            config.sources[1].weight,
            Weight::Steps(vec![(0, 1.0), (7, 0.5)])
        );
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<DataConfig>(&written).unwrap(),
            config
        );
        for (bad, says) in [
            (
                r#""weight": "often""#,
                "a weight is a number, or pairs of tokens",
            ),
            (r#""wieght": 1"#, "wieght"),
        ] {
            let error = read(&format!(r#"{{"name": "a", "path": "x", {bad}}}"#)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
