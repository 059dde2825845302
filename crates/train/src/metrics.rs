//! What is measured: the record of a step, and what each of its values is called and means.
//!
//! Values are measured by [monitors](crate::monitor) and by [validation entries](crate::validation). All of them are listed
//! in `docs/metrics.md`, which is made of [`documented`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::config::RunConfig;
use crate::error::TrainError;
use crate::monitor::{self, MonitorError, Setup};
use crate::validation;

/// What every line of `metrics.jsonl` begins with.
const STEP: &str = "step";

/// What one metric is called and what it means.
///
/// ```
/// use evenburn_train::metrics::MetricSpec;
///
/// static SPEC: MetricSpec = MetricSpec::new("grad/sign_flips", "share", "every step", "Gradients whose sign changed.");
/// assert!(SPEC.covers("grad/sign_flips") && !SPEC.covers("grad/norm"));
///
/// // A part in braces stands for whatever is there: a parameter, a block.
/// static EACH: MetricSpec = MetricSpec::new("norm/param/{path}", "", "when due", "L2 norm of a parameter.");
/// assert!(EACH.covers("norm/param/blocks.0.attn.q.weight"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSpec {
    /// Its name in `metrics.jsonl` and TensorBoard, `group/name`; a part in braces stands for many.
    pub name: Cow<'static, str>,
    /// The unit of its values; empty for a plain number.
    pub unit: Cow<'static, str>,
    /// The steps that have it.
    pub when: Cow<'static, str>,
    /// What it says, in a sentence.
    pub meaning: Cow<'static, str>,
}

impl MetricSpec {
    /// A metric whose description is known when the program is built.
    pub const fn new(
        name: &'static str,
        unit: &'static str,
        when: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            unit: Cow::Borrowed(unit),
            when: Cow::Borrowed(when),
            meaning: Cow::Borrowed(meaning),
        }
    }

    /// Whether a value of this name is described by it.
    pub fn covers(&self, name: &str) -> bool {
        match self.name.split_once('{') {
            None => self.name == name,
            Some((before, rest)) => {
                let after = rest.split_once('}').map_or("", |(_, after)| after);
                name.len() > before.len() + after.len()
                    && name.starts_with(before)
                    && name.ends_with(after)
            }
        }
    }
}

/// What was measured in one step, in the order it is written.
///
/// ```
/// let mut record = evenburn_train::metrics::Record::new(3);
/// record.push("train/loss", 0.5);
/// assert_eq!(record.get("train/loss"), Some(0.5));
/// assert_eq!(record.get("val/loss"), None);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    step: u64,
    values: Vec<(String, f64)>,
}

impl Record {
    /// A record of a step, counted from 1, that has no values yet.
    pub fn new(step: u64) -> Self {
        Self {
            step,
            values: Vec::new(),
        }
    }

    /// Adds a value.
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.values.push((name.into(), value));
    }

    /// Adds all values of another record.
    pub fn extend(&mut self, other: &Self) {
        self.values.extend_from_slice(&other.values);
    }

    /// The step.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Names and values.
    pub fn values(&self) -> &[(String, f64)] {
        &self.values
    }

    /// The value of a name, where there is one.
    pub fn get(&self, name: &str) -> Option<f64> {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }
}

/// The metrics of every built-in monitor and validation entry, each with the name of what measures it.
///
/// # Errors
/// [`TrainError::Plan`] where the default configuration makes no model.
pub fn documented() -> Result<Vec<(String, Vec<MetricSpec>)>, TrainError> {
    let config = RunConfig::default();
    let plan = config.norm.plan(&config.model)?;
    let setup = Setup {
        config: &config,
        plan: &plan,
        ranks: 1,
    };
    let monitors = monitor::built_in(&setup);
    let monitors = monitors
        .iter()
        .map(|monitor| (monitor.name().to_owned(), monitor.specs().to_vec()));
    let entries = validation::built_in();
    let entries = entries
        .iter()
        .map(|entry| (entry.name().to_owned(), entry.specs().to_vec()));
    let benchmarks = ("benchmarks".to_owned(), validation::task_specs().to_vec());
    Ok(monitors.chain(entries).chain([benchmarks]).collect())
}

/// Checks that no two of some measurers have a metric of one name.
///
/// # Errors
/// [`TrainError::Invalid`] with the metric and both.
pub(crate) fn check_names<'s>(
    measured: impl IntoIterator<Item = (&'s str, &'s [MetricSpec])>,
) -> Result<(), TrainError> {
    let mut by: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, specs) in measured {
        for spec in specs {
            if let Some(other) = by.insert(&spec.name, name) {
                let why = format!("is measured by `{other}` and by `{name}`");
                return Err(TrainError::invalid(spec.name.clone(), why));
            }
        }
    }
    Ok(())
}

/// The names in a record that is being filled, checked as they come.
#[derive(Debug, Default)]
pub(crate) struct Names<'r> {
    /// Values that are checked already, wherever they get in.
    given: Option<&'r Record>,
    known: BTreeSet<String>,
}

impl<'r> Names<'r> {
    /// Where the values of another record, which are checked, get in as they are.
    pub(crate) fn given(record: &'r Record) -> Self {
        Self {
            given: Some(record),
            known: BTreeSet::new(),
        }
    }

    /// Checks what a measurer has added to the record: names that its specs cover, each of them once.
    ///
    /// # Errors
    /// In words, with the name.
    pub(crate) fn check(
        &mut self,
        record: &Record,
        specs: &[MetricSpec],
    ) -> Result<(), MonitorError> {
        for (name, _) in record.values.iter().skip(self.known.len()) {
            let given = self.given.is_some_and(|given| given.get(name).is_some());
            if name == STEP || !(given || specs.iter().any(|spec| spec.covers(name))) {
                return Err(format!("gave `{name}`, which is no metric of its specs").into());
            }
            if !self.known.insert(name.clone()) {
                return Err(format!("gave `{name}`, which the step has already").into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_two_measure_is_refused_with_both() {
        let one = [MetricSpec::new("train/loss", "nats", "", "")];
        let other = [MetricSpec::new("val/loss", "nats", "", "")];
        check_names([("a", &one[..]), ("b", &other[..])]).unwrap();
        let error = check_names([("a", &one[..]), ("b", &one[..])]).unwrap_err();
        let message = error.to_string();
        for part in ["train/loss", "`a`", "`b`"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn everything_built_in_says_what_it_measures() {
        let all = documented().unwrap();
        check_names(all.iter().map(|(name, specs)| (name.as_str(), &specs[..]))).unwrap();
        for (name, specs) in all {
            for spec in specs {
                assert!(spec.name.contains('/'), "{name}: {spec:?}");
                assert!(spec.meaning.ends_with('.'), "{name}: {spec:?}");
                assert!(!spec.when.is_empty(), "{name}: {spec:?}");
            }
        }
    }

    #[test]
    fn a_name_without_a_spec_or_there_twice_is_refused() {
        let specs = [MetricSpec::new("own/{part}", "", "", "")];
        let found = |names: &[&str]| {
            let mut record = Record::new(1);
            let mut seen = Names::default();
            let results = names.iter().map(|name| {
                record.push(*name, 0.0);
                seen.check(&record, &specs).map_err(|e| e.to_string())
            });
            results.collect::<Result<(), String>>()
        };
        found(&["own/a", "own/b"]).unwrap();
        for (names, why) in [
            (["own/a", "other/a"], "`other/a`, which is no metric"),
            (["own/a", "own/a"], "`own/a`, which the step has already"),
            (["own/a", "step"], "`step`, which is no metric"),
        ] {
            let error = found(&names).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn braces_stand_for_a_part_that_is_there() {
        let spec = MetricSpec::new("moe/idle/blocks.{block}", "experts", "", "");
        assert!(spec.covers("moe/idle/blocks.11"));
        assert!(!spec.covers("moe/idle/blocks."));
        assert!(!spec.covers("moe/load_max/blocks.1"));
    }
}
