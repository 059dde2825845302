//! From the text of a command line to the value of a key.
//!
//! The kinds that a key declares decide how its text is read, so that a path named `2024` stays a path and the quotes of a
//! prompt stay in it:
//!
//! | the key takes | its text is |
//! |---|---|
//! | strings | the string, byte for byte |
//! | one of some words | the word, or that word as a TOML string |
//! | strings, or a list of them | the string, unless it begins with `[`: then a TOML list |
//! | a list | a TOML list |
//! | numbers or booleans | a TOML number or boolean |

use toml::Value;

use super::{Key, Kind};

/// The value that `text` is for a key with these meanings; of the wrong kind where it is none, for the check of values to
/// refuse.
///
/// # Errors
/// In words, for a text that begins like a list and isn't one.
pub(super) fn value(meanings: &[&Key], text: &str) -> Result<Value, String> {
    let takes = |kind| meanings.iter().any(|key| key.kinds.contains(&kind));
    if takes(Kind::Array) && text.starts_with('[') {
        return list(text, takes(Kind::String));
    }
    let as_is = || Value::String(text.to_owned());
    let word = meanings.iter().all(|key| !key.choices.is_empty());
    let parsed = text.parse().ok().filter(|value| match value {
        Value::String(_) => word,
        Value::Boolean(_) | Value::Integer(_) | Value::Float(_) => !takes(Kind::String),
        _ => false,
    });
    Ok(parsed.unwrap_or_else(as_is))
}

fn list(text: &str, or_string: bool) -> Result<Value, String> {
    let error = match text.parse() {
        Ok(list @ Value::Array(_)) => return Ok(list),
        Ok(other) => format!("it is {}", other.type_str()),
        Err(e) => e.message().to_owned(),
    };
    let mut why = format!("begins with `[` and is no TOML list: {error}");
    if or_string {
        let inside = Value::Array(vec![Value::String(text.to_owned())]);
        why += &format!("; a path or pattern that begins so goes into a list: {inside}");
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use crate::config::keys;

    #[test]
    fn no_key_takes_text_and_numbers() {
        for key in keys(&Registry::default()) {
            let text = key.kinds.contains(&Kind::String);
            let other = [Kind::Boolean, Kind::Integer, Kind::Number];
            assert!(
                !text || !key.kinds.iter().any(|kind| other.contains(kind)),
                "{}: its text could be either",
                key.path
            );
        }
    }

    fn read(key: &str, text: &str) -> Result<Value, String> {
        let all = keys(&Registry::default());
        let meanings: Vec<&Key> = all.iter().filter(|k| k.path == key).collect();
        assert!(!meanings.is_empty(), "{key}");
        value(&meanings, text)
    }

    fn string(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn kinds_decide() {
        let cases = [
            ("run.name", "[a]", string("[a]")),
            ("train.prompt", "\"a\" # b", string("\"a\" # b")),
            ("data.path", "1e5", string("1e5")),
            (
                "data.path",
                "['a', \"b\"]",
                Value::Array(vec![string("a"), string("b")]),
            ),
            ("norm.scheme", "angpt", string("angpt")),
            ("norm.scheme", "\"angpt\"", string("angpt")),
            ("optim.groups", "a", string("a")),
            ("train.reset_optimizer", "true", Value::Boolean(true)),
            ("train.reset_optimizer", "\"true\"", string("\"true\"")),
            ("train.steps", "0x10", Value::Integer(16)),
            ("train.steps", "5\n6", string("5\n6")),
            ("optim.lr", "1e-3", Value::Float(1e-3)),
            ("optim.lr", "'1e-3'", string("'1e-3'")),
            ("optim.lr", "1979-05-27", string("1979-05-27")),
        ];
        for (key, text, expected) in cases {
            assert_eq!(read(key, text), Ok(expected), "{key} {text:?}");
        }
    }

    #[test]
    fn what_begins_like_a_list_and_is_none_is_refused_with_the_way_to_say_it() {
        for text in ["[ab]*.jsonl", "[", "[\"a\"", "[a, b]", "[\"a\"] b"] {
            let why = read("data.path", text).unwrap_err();
            let (_, advice) = why.split_once("goes into a list: ").unwrap();
            let path = Value::Array(vec![string(text)]);
            assert_eq!(read("data.path", advice), Ok(path), "{why}");
        }
        let why = read("optim.groups", "[{a}]").unwrap_err();
        assert!(!why.contains("path"), "{why}");
    }
}
