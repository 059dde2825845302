//! Picks two string fields out of a JSON object without building the rest of it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{Document, SPLIT_FIELD};
use crate::split::Tag;

/// Parses one line. The error is a sentence about the line.
pub(super) fn parse(line: &[u8], text_field: &str) -> Result<Document, String> {
    let fields = pick(line, text_field)
        .or_else(|e| match without_nan(line) {
            Some(line) => pick(&line, text_field),
            None => Err(e),
        })
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
        .and_then(Tag::in_name);
    Ok(Document { text, tag })
}

fn pick(line: &[u8], text_field: &str) -> serde_json::Result<Picked> {
    let mut de = serde_json::Deserializer::from_slice(line);
    let fields = Fields { text_field }.deserialize(&mut de)?;
    de.end().map(|()| fields)
}

/// A line with zeros for the numbers that JSON doesn't have and Python writes, `NaN`, `Infinity` and `-Infinity`;
/// nothing where there is none. Only text is read from a line, so the value doesn't matter; each keeps its length, so
/// that columns in messages stay right.
fn without_nan(line: &[u8]) -> Option<Vec<u8>> {
    const NUMBERS: [(&[u8], &[u8]); 3] = [
        (b"-Infinity", b"0        "),
        (b"Infinity", b"0       "),
        (b"NaN", b"0  "),
    ];
    let mut replaced = None;
    let (mut at, mut inside) = (0, false);
    while at < line.len() {
        let found = NUMBERS
            .iter()
            .find(|(number, _)| !inside && line[at..].starts_with(number));
        if let Some((number, zero)) = found {
            let out: &mut Vec<u8> = replaced.get_or_insert_with(|| line.to_vec());
            out[at..at + number.len()].copy_from_slice(zero);
            at += number.len();
            continue;
        }
        match line[at] {
            b'"' => inside = !inside,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    replaced
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
