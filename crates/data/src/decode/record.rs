//! Picks two string fields out of a JSON object without building the rest of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{Document, SPLIT_FIELD};
use crate::layout::Tag;

/// Parses one line. The error is a sentence about the line.
pub(super) fn parse(line: &[u8], text_field: &str) -> Result<Document, String> {
    let mut de = serde_json::Deserializer::from_slice(line);
    let fields = Fields { text_field }
        .deserialize(&mut de)
        .and_then(|fields| de.end().map(|()| fields))
        .map_err(|e| {
            // The parser counts lines of its own; only the column means something here.
            let message = e.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("invalid JSON at column {}: {message}", e.column())
        })?;
    let text = match fields.text {
        Some(Value::String(text)) => text,
        Some(other) => {
            return Err(format!(
                "field `{text_field}` is {}, not a string",
                kind(&other)
            ));
        }
        None => {
            let names: Vec<_> = fields.others.iter().map(|n| format!("`{n}`")).collect();
            return Err(format!(
                "no field `{text_field}` (data.text_field); it has {}",
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            ));
        }
    };
    let tag = fields
        .tag
        .as_ref()
        .and_then(Value::as_str)
        .and_then(Tag::parse);
    Ok(Document { text, tag })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

struct Picked {
    text: Option<Value>,
    tag: Option<Value>,
    /// Names of the other fields, for the message when the text is missing.
    others: Vec<String>,
}

struct Fields<'a> {
    text_field: &'a str,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Picked;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Picked, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Picked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with a field `{}`", self.text_field)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Picked, A::Error> {
        let mut picked = Picked {
            text: None,
            tag: None,
            others: Vec::new(),
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == self.text_field {
                picked.text = Some(map.next_value()?);
            } else if key == SPLIT_FIELD {
                picked.tag = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
                picked.others.push(key);
            }
        }
        Ok(picked)
    }
}
