//! Every configuration key, read off the sections' own types.
//!
//! The list is made from the JSON schemas that `schemars` derives, so a key's type and meaning are written once: on
//! the field.

use std::fmt;

use crate::Registry;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::RunConfig;

/// One configuration key.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Key {
    /// Its path, `section.field`.
    pub path: String,
    /// The types a value may have.
    pub kinds: Vec<Kind>,
    /// The types of a list's entries; empty when it takes no list.
    pub entries: Vec<Kind>,
    /// The only strings allowed; empty when any is.
    pub choices: Vec<String>,
    /// Smallest number allowed.
    pub minimum: Option<f64>,
    /// Default as TOML; `None` when the key is unset by default.
    pub default: Option<String>,
    /// What it means.
    pub meaning: String,
    /// The tags it goes with: `norm.scheme` must be one of the values. Empty when it always applies.
    pub only_with: Vec<Tag>,
}

/// A key of a tagged section together with the value of the tag that brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Path of the tag, for example `norm.scheme`.
    pub path: String,
    /// Its values.
    pub values: Vec<String>,
}

/// Type of a configuration value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Text.
    String,
    /// A list.
    Array,
    /// A table.
    Table,
}

impl Kind {
    /// The kind of a value; TOML's dates are text here.
    fn of(value: &toml::Value) -> Self {
        match value {
            toml::Value::Boolean(_) => Self::Boolean,
            toml::Value::Integer(_) => Self::Integer,
            toml::Value::Float(_) => Self::Number,
            toml::Value::String(_) | toml::Value::Datetime(_) => Self::String,
            toml::Value::Array(_) => Self::Array,
            toml::Value::Table(_) => Self::Table,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Table => "table",
        })
    }
}

impl Key {
    /// What a value may be, in words: `"flex" | "cuda"` or `integer`.
    pub fn expected(&self) -> String {
        if !self.choices.is_empty() {
            let quoted: Vec<_> = self.choices.iter().map(|c| format!("\"{c}\"")).collect();
            return quoted.join(" | ");
        }
        let entries: Vec<_> = self.entries.iter().map(|kind| format!("{kind}s")).collect();
        let named = |kind: &Kind| match kind {
            Kind::Array if !entries.is_empty() => format!("array of {}", entries.join(" or ")),
            other => other.to_string(),
        };
        let kinds: Vec<_> = self.kinds.iter().map(named).collect();
        let kinds = kinds.join(" or ");
        match self.minimum {
            Some(minimum) => format!("{kinds}, at least {minimum}"),
            None => kinds,
        }
    }

    /// Whether the tags this key goes with have their values in a configuration.
    pub(super) fn applies(&self, values: &toml::Table) -> bool {
        self.only_with.iter().all(|tag| {
            let value = lookup(values, &tag.path).and_then(toml::Value::as_str);
            value.is_some_and(|value| tag.values.iter().any(|v| v == value))
        })
    }

    /// Whether a value has a type and a value that this key allows.
    pub(super) fn accepts(&self, value: &toml::Value) -> bool {
        if let toml::Value::String(text) = value
            && !self.choices.is_empty()
        {
            return self.choices.contains(text);
        }
        let kind = Kind::of(value);
        let number = match value {
            toml::Value::Integer(n) => Some(*n as f64),
            toml::Value::Float(x) => Some(*x),
            _ => None,
        };
        let in_range = match (self.minimum, number) {
            (Some(minimum), Some(number)) => number >= minimum,
            _ => true,
        };
        let kind_fits = self.kinds.is_empty()
            || self.kinds.contains(&kind)
            || (kind == Kind::Integer && self.kinds.contains(&Kind::Number));
        let entries_fit = value
            .as_array()
            .is_none_or(|list| list.iter().all(|v| self.entries.contains(&Kind::of(v))));
        kind_fits && in_range && entries_fit
    }
}

/// The section whose functions a registry knows, in the schema of a configuration.
const FUNCTION: &str = "/properties/model/properties/function";

/// Every key of a run's configuration, section by section, with the schemes, functions and recipes of a registry.
///
/// A key that means something else, or takes other values, with another tag is listed once for each.
///
/// ```
/// let keys = evenburn_train::config::keys(&evenburn_train::Registry::default());
/// let key = keys.iter().find(|key| key.path == "train.batch_size").expect("it exists");
/// assert_eq!((key.expected().as_str(), key.default.as_deref()), ("integer, at least 1", Some("8")));
/// ```
pub fn keys(registry: &Registry) -> Vec<Key> {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let functions = registry
        .model
        .kinds()
        .placed_schema(&mut generator)
        .to_value();
    let mut schema = generator.into_root_schema_for::<RunConfig>().to_value();
    if let Some(known) = schema.pointer_mut(FUNCTION) {
        *known = functions;
    }
    let defaults = toml::Table::try_from(RunConfig::default()).unwrap_or_default();
    let mut found = Vec::new();
    let (schemes, recipes) = (registry.model.schema(), registry.optimizers.schema());
    for section in RunConfig::SECTIONS {
        let first = found.len();
        let chosen = match section {
            "norm" => Some(schemes.as_value()),
            "optim" => Some(recipes.as_value()),
            _ => None,
        };
        let own = schema.pointer(&format!("/properties/{section}"));
        for part in [chosen, own].into_iter().flatten() {
            walk(section, part, &[], &mut found);
        }
        // The choice, what always applies, then what comes with a choice.
        if chosen.is_some() {
            found[first..].sort_by_key(|key| !key.only_with.is_empty());
        }
    }
    for key in &mut found {
        if key.applies(&defaults)
            && let Some(value) = lookup(&defaults, &key.path)
        {
            key.default = Some(value.to_string());
        }
    }
    found
}

/// Value of a dotted path in a table.
pub(super) fn lookup<'t>(table: &'t toml::Table, path: &str) -> Option<&'t toml::Value> {
    let (head, rest) = path
        .split_once('.')
        .map_or((path, None), |(h, r)| (h, Some(r)));
    match (table.get(head)?, rest) {
        (value, None) => Some(value),
        (toml::Value::Table(inner), Some(rest)) => lookup(inner, rest),
        _ => None,
    }
}

/// Adds the keys of one schema found at `path`.
fn walk(path: &str, schema: &Json, tags: &[Tag], found: &mut Vec<Key>) {
    let variants = alternatives(schema);
    if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
        for (name, property) in properties {
            walk(&format!("{path}.{name}"), property, tags, found);
        }
    } else if variants.iter().any(|v| v.get("properties").is_some()) {
        for variant in &variants {
            walk_variant(path, variant, tags, found);
        }
    } else {
        push(leaf(path, schema, tags), found);
    }
}

/// Adds the keys of one variant of a tagged section: its tag, and what comes with it.
fn walk_variant(path: &str, variant: &Json, tags: &[Tag], found: &mut Vec<Key>) {
    let Some(properties) = variant.get("properties").and_then(Json::as_object) else {
        return;
    };
    let constant = |p: &Json| p.get("const").and_then(Json::as_str).map(str::to_owned);
    let Some((tag, value)) = properties
        .iter()
        .find_map(|(name, p)| Some((name, constant(p)?)))
    else {
        return;
    };
    let tag_path = format!("{path}.{tag}");
    let mut key = leaf(&tag_path, &properties[tag], tags);
    key.kinds = vec![Kind::String];
    key.choices = vec![value.clone()];
    key.meaning = format!("{value}: {}", meaning(variant));
    push_tag(key, found);
    let mut tags = tags.to_vec();
    tags.push(Tag {
        path: tag_path,
        values: vec![value],
    });
    for (name, property) in properties.iter().filter(|(name, _)| *name != tag) {
        walk(&format!("{path}.{name}"), property, &tags, found);
    }
}

/// Adds a key, or joins it to the same key of an earlier variant.
fn push(key: Key, found: &mut Vec<Key>) {
    let differs_in_tags = |earlier: &Key| {
        let tags = earlier.only_with.clone();
        *earlier
            == Key {
                only_with: tags,
                ..key.clone()
            }
    };
    let Some(earlier) = found.iter_mut().find(|k| differs_in_tags(k)) else {
        found.push(key);
        return;
    };
    for tag in key.only_with {
        match earlier.only_with.iter_mut().find(|t| t.path == tag.path) {
            Some(known) => known.values.extend(tag.values),
            None => earlier.only_with.push(tag),
        }
    }
}

/// Adds one value of a tag to the tag's key.
fn push_tag(key: Key, found: &mut Vec<Key>) {
    match found.iter_mut().find(|k| k.path == key.path) {
        Some(earlier) => {
            earlier.choices.extend(key.choices);
            earlier.meaning = format!("{} {}", earlier.meaning, key.meaning);
        }
        None => found.push(key),
    }
}

/// The alternatives of a `oneOf` or `anyOf`, `null` left out.
fn alternatives(schema: &Json) -> Vec<&Json> {
    ["oneOf", "anyOf"]
        .iter()
        .filter_map(|name| schema.get(name)?.as_array())
        .flatten()
        .filter(|s| s.get("type").and_then(Json::as_str) != Some("null"))
        .collect()
}

fn meaning(schema: &Json) -> String {
    let text = schema
        .get("description")
        .and_then(Json::as_str)
        .unwrap_or("");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn leaf(path: &str, schema: &Json, tags: &[Tag]) -> Key {
    let mut key = Key {
        path: path.to_owned(),
        kinds: Vec::new(),
        entries: Vec::new(),
        choices: Vec::new(),
        minimum: schema.get("minimum").and_then(Json::as_f64),
        default: schema
            .get("default")
            .filter(|d| !d.is_null())
            .and_then(|d| toml::Value::try_from(d).ok())
            .map(|d| d.to_string()),
        meaning: meaning(schema),
        only_with: tags.to_vec(),
    };
    describe(schema, &mut key);
    key.kinds.sort_unstable();
    key.kinds.dedup();
    key
}

/// The types that a schema itself names.
fn kinds(schema: &Json) -> Vec<Kind> {
    let types: Vec<&str> = match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let kind = |name| match name {
        "boolean" => Some(Kind::Boolean),
        "integer" => Some(Kind::Integer),
        "number" => Some(Kind::Number),
        "string" => Some(Kind::String),
        "array" => Some(Kind::Array),
        "object" => Some(Kind::Table),
        _ => None,
    };
    types.into_iter().filter_map(kind).collect()
}

/// Collects types and choices of a schema and of its alternatives.
fn describe(schema: &Json, key: &mut Key) {
    key.kinds.extend(kinds(schema));
    key.entries
        .extend(schema.get("items").map(kinds).unwrap_or_default());
    if let Some(choices) = schema.get("enum").and_then(Json::as_array) {
        key.choices
            .extend(choices.iter().filter_map(Json::as_str).map(str::to_owned));
    }
    if let Some(choice) = schema.get("const").and_then(Json::as_str) {
        key.choices.push(choice.to_owned());
    }
    for alternative in alternatives(schema) {
        describe(alternative, key);
    }
}
