//! What was compared, and how far it was apart.

use serde_json::Value;
use std::fmt;

use super::rule::Rule;

/// How many of the differences that are too large are shown.
const SHOWN: usize = 8;

/// How much of a text that differs is shown.
const WIDTH: usize = 120;

/// What is past its tolerance.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The way to it within its entry in `expected.json`.
    pub place: String,
    /// What was computed.
    pub found: String,
    /// What the harness computed.
    pub wanted: String,
}

/// The largest difference of a kind, as its rule measures it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Largest {
    /// None before there is one.
    apart: Option<f64>,
    place: String,
}

impl Largest {
    fn take(&mut self, apart: f64, place: &str) {
        // What is no number is further than any.
        let apart = if apart.is_nan() { f64::INFINITY } else { apart };
        if self.apart.is_none_or(|largest| apart > largest) {
            self.apart = Some(apart);
            place.clone_into(&mut self.place);
        }
    }
}

/// A task, a group, or what else was compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The name of its entry.
    pub name: String,
    /// How many documents it has, where it has any.
    pub documents: Option<usize>,
    /// All that is past its tolerance.
    pub differences: Vec<Difference>,
    compared: usize,
    likelihood: Largest,
    metric: Largest,
}

impl Line {
    pub(super) fn new(name: &str, documents: Option<usize>) -> Self {
        Self {
            name: name.to_owned(),
            documents,
            differences: Vec::new(),
            compared: 0,
            likelihood: Largest::default(),
            metric: Largest::default(),
        }
    }

    /// Two log-likelihoods.
    pub(super) fn likelihood(&mut self, place: &str, found: f64, wanted: f64, rule: Rule) {
        self.compared += 1;
        let apart = self.check(place, found, wanted, rule);
        self.likelihood.take(apart, place);
    }

    /// Two numbers that sum up.
    pub(super) fn metric(&mut self, place: &str, found: f64, wanted: f64, rule: Rule) {
        let apart = self.check(place, found, wanted, rule);
        // A standard error by chance is apart by more than all others, and may be.
        if !matches!(rule, Rule::Part(_)) {
            self.metric.take(apart, place);
        }
    }

    fn check(&mut self, place: &str, found: f64, wanted: f64, rule: Rule) -> f64 {
        let (apart, limit) = rule.apart(found, wanted);
        // Not `apart > limit`: a number that is none must fail too.
        let within = apart <= limit;
        if !within {
            self.differences.push(Difference {
                place: place.to_owned(),
                found: found.to_string(),
                wanted: format!("{wanted} ({apart:.1e} apart, {limit:.0e} allowed)"),
            });
        }
        apart
    }

    /// Two values that should be the same.
    pub(super) fn differs(&mut self, place: String, found: &Value, wanted: &Value) {
        self.differences.push(Difference {
            place,
            found: short(found),
            wanted: short(wanted),
        });
    }
}

/// The start of a value.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        value => value.to_string(),
    };
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A folder's numbers, and how far they are from the expected ones.
#[derive(Debug, Clone)]
pub struct Eval {
    /// Each task, each group, the single requests and the model.
    pub lines: Vec<Line>,
    /// Whether anything was expected.
    pub compared: bool,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// All that was computed, in the layout of `expected.json`.
    pub answers: Value,
}

impl Eval {
    /// Whether nothing is past its tolerance.
    pub fn passes(&self) -> bool {
        self.lines.iter().all(|line| line.differences.is_empty())
    }
}

impl fmt::Display for Eval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<40} {:>9} {:>15} {:>10} {:>10}",
            "", "documents", "log-likelihoods", "largest", "metrics"
        )?;
        for line in &self.lines {
            let documents = line.documents.map_or(String::new(), |it| it.to_string());
            write!(f, "{:<40} {documents:>9}", line.name)?;
            if !self.compared {
                writeln!(f, " {:>15}", "not compared")?;
                continue;
            }
            let apart = |largest: &Largest| {
                let apart = largest.apart;
                apart.map_or_else(|| "-".to_owned(), |apart| format!("{apart:.1e}"))
            };
            let (largest, metric) = (apart(&line.likelihood), apart(&line.metric));
            write!(f, " {:>15} {largest:>10} {metric:>10}", line.compared)?;
            match line.differences.len() {
                0 => writeln!(f)?,
                count => writeln!(f, "  FAILED: {count} past their tolerance")?,
            }
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        if !self.compared {
            return write!(f, "there is no expected.json: nothing was compared");
        }
        let all = self.lines.iter();
        let all = all.flat_map(|line| line.differences.iter().map(move |it| (&line.name, it)));
        for (name, it) in all.clone().take(SHOWN) {
            writeln!(
                f,
                "{name}, {}: {} instead of {}",
                it.place, it.found, it.wanted
            )?;
        }
        match all.count() {
            0 => self.largest(f),
            count => write!(
                f,
                "{count} numbers, texts or counts are past their tolerance"
            ),
        }
    }
}

impl Eval {
    fn largest(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all agree")?;
        let lines = self.lines.iter();
        let apart = lines.filter_map(|line| Some((line.likelihood.apart?, line)));
        match apart.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((apart, line)) => write!(
                f,
                "; log-likelihoods differ by {apart:.1e} at most ({}, {})",
                line.name, line.likelihood.place
            ),
            None => Ok(()),
        }
    }
}
