//! How a task is asked, which its name and its entry in `expected.json` say.

use anyhow::{Context, Result};
use evenburn_eval::Sampler;
use serde_json::Value;

/// What is to be computed.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) tasks: Vec<Setting>,
    /// What is left out, and why.
    pub(super) notes: Vec<String>,
}

/// How a task is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The name of the entry.
    pub(super) name: String,
    /// The task, and the name of its files.
    pub(super) base: String,
    pub(super) shots: usize,
    pub(super) sampler: Sampler,
    /// The first so many documents.
    pub(super) limit: Option<usize>,
}

impl Setting {
    /// All documents without examples.
    pub(super) fn plain(name: String) -> Self {
        Self {
            base: name.clone(),
            name,
            shots: 0,
            sampler: Sampler::Default,
            limit: None,
        }
    }

    /// Of a name such as `arc_easy_5shot_first` and its entry.
    pub(super) fn read(name: &str, entry: &Value) -> Result<Self> {
        let number = |key: &str| {
            let value = entry.get(key).and_then(Value::as_u64);
            let value = value.and_then(|value| usize::try_from(value).ok());
            value.with_context(|| format!("expected.json: `tasks.{name}.{key}` is no number"))
        };
        let (rest, sampler) = match name.strip_suffix("_first") {
            Some(rest) => (rest, Sampler::FirstN),
            None => (name, Sampler::Default),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let base = rest.strip_suffix("shot").and_then(|rest| {
            let (base, shots) = rest.rsplit_once('_')?;
            is_number(shots).then_some(base)
        });
        Ok(Self {
            name: name.to_owned(),
            // Only behind a number of examples does `_first` say how they are chosen.
            base: base.unwrap_or(name).to_owned(),
            shots: number("num_fewshot")?,
            sampler: base.map_or(Sampler::Default, |_| sampler),
            limit: Some(number("documents")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_examples_are_chosen() {
        for (name, base, sampler) in [
            ("arc_easy", "arc_easy", Sampler::Default),
            ("arc_easy_5shot", "arc_easy", Sampler::Default),
            ("arc_easy_5shot_first", "arc_easy", Sampler::FirstN),
            ("blimp_first", "blimp_first", Sampler::Default),
            ("a_shot", "a_shot", Sampler::Default),
        ] {
            let entry = serde_json::json!({ "num_fewshot": 3, "documents": 7 });
            let found = Setting::read(name, &entry).unwrap();
            let wanted = (base, sampler, 3, Some(7));
            let found_parts = (found.base.as_str(), found.sampler, found.shots, found.limit);
            assert_eq!(found_parts, wanted, "{name}");
        }
        assert!(Setting::read("a", &serde_json::json!({})).is_err());
    }
}
