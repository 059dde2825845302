//! What came out beside what was expected, number by number.

use serde_json::{Map, Value};
use std::collections::BTreeSet;

use super::answers::{Answered, Answers};
use super::report::Line;
use super::rule::{LIKELIHOOD, Rule};

/// What the harness computed once more in f64; nothing is asked of it.
const IN_F64: &str = "loglikelihood_f64";

/// The field of a log-likelihood.
const LOG_LIKELIHOOD: &str = "loglikelihood";

/// A line for all that was computed, where nothing is expected.
pub(super) fn none(answers: &Answers) -> Vec<Line> {
    let tasks = answers.tasks.iter().map(line);
    let requests = answers.requests.iter().map(|all| single(all));
    tasks.chain(requests).collect()
}

/// Compares each task, each group, the single requests, and what was said of the model.
pub(super) fn all(answers: &Answers, expected: &Value) -> Vec<Line> {
    let tasks = answers.tasks.iter().map(|it| task(it, expected));
    let groups = expected.get("groups").and_then(Value::as_object);
    let groups = groups.into_iter().flatten();
    let groups = groups.map(|(name, wanted)| {
        // Nothing where there is no task of the group.
        let found = answers.groups.get(name).unwrap_or(&Value::Null);
        group(name, found, wanted)
    });
    let mut lines: Vec<_> = tasks.chain(groups).collect();
    lines.extend(requests(answers, expected));
    lines.push(model(answers, expected));
    lines
}

fn line(task: &Answered) -> Line {
    let documents = task.entry["docs"].as_array().map_or(0, Vec::len);
    Line::new(&task.name, Some(documents))
}

fn single(requests: &[Value]) -> Line {
    Line::new("single requests", Some(requests.len()))
}

fn task(task: &Answered, expected: &Value) -> Line {
    let wanted = &expected["tasks"][&task.name];
    let mut line = line(task);
    for key in ["num_fewshot", "documents", "docs"] {
        value(&mut line, key, key, &task.entry[key], &wanted[key]);
    }
    let key = "documents_cut_from_the_left";
    if let (Some(cut), Some(wanted)) = (task.cut, expected[key].get(&task.name)) {
        value(&mut line, key, key, &cut.into(), wanted);
    }
    let key = "metrics";
    numbers(&mut line, key, &task.entry[key], &wanted[key], Rule::of);
    // The harness has none of these: a folder has as many as somebody computed.
    let key = "more";
    let more = wanted.get(key).and_then(Value::as_object);
    let mut found = task.entry.get(key).cloned().unwrap_or_default();
    if let Value::Object(found) = &mut found {
        found.retain(|name, _| more.is_some_and(|more| more.contains_key(name)));
    }
    numbers(&mut line, key, &found, &wanted[key], Rule::of);
    line
}

fn group(name: &str, found: &Value, wanted: &Value) -> Line {
    let mut line = Line::new(name, None);
    let tasks = "tasks";
    value(&mut line, tasks, tasks, &found[tasks], &wanted[tasks]);
    let key = "metrics";
    numbers(&mut line, key, &found[key], &wanted[key], Rule::of_group);
    line
}

fn requests(answers: &Answers, expected: &Value) -> Option<Line> {
    let key = "requests";
    let wanted = expected.get(key).cloned();
    let found = answers.requests.clone();
    if wanted.is_none() && found.is_none() {
        return None;
    }
    let found = found.unwrap_or_default();
    let mut line = single(&found);
    let wanted = wanted.unwrap_or_else(|| Value::Array(Vec::new()));
    value(&mut line, key, key, &Value::Array(found), &wanted);
    Some(line)
}

/// What is said of the model but its vocabulary, which may be the tokenizer's.
fn model(answers: &Answers, expected: &Value) -> Line {
    let mut line = Line::new("model", None);
    for key in ["context", "prefix_token"] {
        if let Some(wanted) = expected["model"].get(key) {
            value(&mut line, key, key, &answers.model[key], wanted);
        }
    }
    line
}

/// Compares values of any shape. `place` leads to them, `key` is the last name on the way.
fn value(line: &mut Line, place: &str, key: &str, found: &Value, wanted: &Value) {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            for (key, wanted) in wanted.iter().filter(|(key, _)| *key != IN_F64) {
                let found = found.get(key).unwrap_or(&Value::Null);
                // That a request fails counts, not what the failure is called.
                if key == "error" && !found.is_null() {
                    continue;
                }
                value(line, &format!("{place}.{key}"), key, found, wanted);
            }
            // A request that fails has nothing else.
            if let Some(error) = found.get("error").filter(|_| !wanted.contains_key("error")) {
                line.differs(format!("{place}.error"), error, &Value::Null);
            }
        }
        (Value::Array(found), Value::Array(wanted)) => {
            for (number, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                value(line, &format!("{place}[{number}]"), key, found, wanted);
            }
            if found.len() != wanted.len() {
                let (found, wanted) = (found.len().into(), wanted.len().into());
                line.differs(format!("length of {place}"), &found, &wanted);
            }
        }
        (Value::Number(_), Value::Number(_)) if key == LOG_LIKELIHOOD => {
            line.likelihood(place, number(found), number(wanted), LIKELIHOOD);
        }
        _ if found == wanted => {}
        _ => line.differs(place.to_owned(), found, wanted),
    }
}

/// Compares numbers that sum up a task or a group, each with the rule of its name.
fn numbers(line: &mut Line, place: &str, found: &Value, wanted: &Value, rule: fn(&str) -> Rule) {
    let empty = Map::new();
    let found = found.as_object().unwrap_or(&empty);
    let wanted = wanted.as_object().unwrap_or(&empty);
    let names: BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    for name in names {
        let place = format!("{place}.{name}");
        let found = found.get(name).unwrap_or(&Value::Null);
        let wanted = wanted.get(name).unwrap_or(&Value::Null);
        match (found, wanted) {
            (Value::Number(_), Value::Number(_)) => {
                line.metric(&place, number(found), number(wanted), rule(name));
            }
            _ if found == wanted => {}
            _ => line.differs(place, found, wanted),
        }
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
