//! Filters of templates: what Python's strings do, and rules of single benchmarks.

use minijinja::value::Value;
use minijinja::{Environment, Error, ErrorKind};

use super::{bracketed, wikitext};
use crate::python;

/// Adds the filters to an environment; those that Jinja has too mean what they mean in Python.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("strip", |text: &str| python::strip(text).to_owned());
    environment.add_filter("trim", |text: &str| python::strip(text).to_owned());
    environment.add_filter("lstrip", |text: &str| python::strip_start(text).to_owned());
    environment.add_filter("rstrip", |text: &str| python::strip_end(text).to_owned());
    environment.add_filter("capitalize", |text: &str| python::capitalize(text));
    environment.add_filter("unbracket", |text: &str| bracketed::remove(text));
    environment.add_filter("detokenize", |text: &str| wikitext::detokenize(text));
    environment.add_filter("before", before);
    environment.add_filter("after", after);
    environment.add_filter("before_last", before_last);
    environment.add_filter("after_last", after_last);
    environment.add_filter("index_of", index_of);
}

fn missing(part: &str) -> Error {
    Error::new(
        ErrorKind::InvalidOperation,
        format!("there is no {part:?} in it"),
    )
}

/// What stands before the first `part`, which must be there.
fn before(text: &str, part: &str) -> Result<String, Error> {
    let split = text.split_once(part).ok_or_else(|| missing(part))?;
    Ok(split.0.to_owned())
}

/// What stands after the first `part`, which must be there.
fn after(text: &str, part: &str) -> Result<String, Error> {
    let split = text.split_once(part).ok_or_else(|| missing(part))?;
    Ok(split.1.to_owned())
}

/// What stands before the last `part`; nothing where there is none.
fn before_last(text: &str, part: &str) -> String {
    text.rsplit_once(part)
        .map_or_else(String::new, |(before, _)| before.to_owned())
}

/// What stands after the last `part`; everything where there is none.
fn after_last(text: &str, part: &str) -> String {
    text.rsplit_once(part)
        .map_or(text, |(_, after)| after)
        .to_owned()
}

/// The place of a value in a list, from 0.
fn index_of(list: &Value, wanted: &Value) -> Result<usize, Error> {
    let found = list.try_iter()?.position(|value| value == *wanted);
    found.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("{wanted:?} is none of {list:?}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random texts of the pieces that the rules look for, and what the regular expressions of Python 3.11 make of
    /// them.
    #[test]
    fn texts_are_those_of_python() {
        let cases = include_str!("../../tests/fixtures/python/texts.jsonl");
        let mut count = 0;
        for line in cases.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["text"].as_str().unwrap();
            assert_eq!(wikitext::detokenize(text), case["detokenized"], "{text:?}");
            let titled = text.replace('N', "[title]");
            assert_eq!(bracketed::remove(&titled), case["unbracketed"], "{text:?}");
            assert_eq!(python::count_words(text), case["words"], "{text:?}");
            assert_eq!(python::strip(text), case["stripped"], "{text:?}");
            count += 1;
        }
        assert_eq!(count, 300);
    }

    #[test]
    fn texts_are_split_at_a_part() {
        assert_eq!(before("a_b_c", "_").unwrap(), "a");
        assert_eq!(after("a_b_c", "_").unwrap(), "b_c");
        assert!(before("abc", "_").is_err() && after("abc", "_").is_err());
        assert_eq!(before_last("a b c", " "), "a b");
        assert_eq!(after_last("a b c", " "), "c");
        assert_eq!(before_last("abc", " "), "");
        assert_eq!(after_last("abc", " "), "abc");
    }
}
