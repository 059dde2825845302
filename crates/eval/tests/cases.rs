//! Documents whose strings, tokens, log-likelihoods and metrics lm-evaluation-harness 0.4.13 has computed; see
//! `fixtures/LICENSES.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{encoder, fixtures, json, open, read};
use evenburn_eval::{
    Encoder as _, GroupResult, Options, Prepared, Sampler, Task, TaskRegistry, TaskResult,
    TextEncoder, TokenScore, encode_request, prepare,
};
use serde_json::Value;

/// A folder with a tokenizer, documents and what the harness makes of them.
struct Cases {
    folder: PathBuf,
    expected: Value,
    encoder: TextEncoder,
    length: usize,
    registry: TaskRegistry,
}

impl Cases {
    fn open(folder: &Path) -> Self {
        let expected = json(&folder.join("expected.json"));
        let encoder = encoder(&folder.join("model"));
        assert_eq!(expected["model"]["prefix_token"], encoder.prefix());
        Self {
            folder: folder.to_path_buf(),
            length: number(&expected["model"]["context"]),
            expected,
            encoder,
            registry: TaskRegistry::built_in().unwrap(),
        }
    }

    fn check(&self) {
        let tasks = self.expected["tasks"].as_object().unwrap();
        let results: Vec<_> = tasks
            .iter()
            .map(|(name, entry)| self.task(name, entry))
            .collect();
        for (name, entry) in self.expected["groups"].as_object().unwrap() {
            let group = self.registry.select(name).unwrap().groups.remove(0);
            let result = GroupResult::new(&group, &results).unwrap();
            assert_eq!(serde_json::to_value(&result.tasks).unwrap(), entry["tasks"]);
            for metric in &result.metrics {
                let stderr = format!("{}_stderr", metric.name);
                close(name, metric.value, &entry["metrics"][metric.name], 1e-12);
                close(
                    name,
                    metric.stderr.unwrap(),
                    &entry["metrics"][stderr],
                    1e-12,
                );
            }
        }
        self.requests();
    }

    /// Every string, token and number of a task.
    fn task(&self, name: &str, entry: &Value) -> TaskResult {
        let (base, shots, sampler) = setting(name);
        let task = self.registry.select(base).unwrap().tasks.remove(0);
        let options = Options {
            shots,
            sampler,
            limit: Some(number(&entry["documents"])),
            ..Options::new(self.length)
        };
        let prepared = self.prepare(&task, base, "jsonl", &options);
        if self.folder.join(format!("tasks/{base}.parquet")).exists() {
            let rows = self.prepare(&task, base, "parquet", &options);
            assert_eq!(rows.requests(), prepared.requests(), "{name}");
        }
        if let Some(cut) = self.expected["documents_cut_from_the_left"].get(name) {
            assert_eq!(prepared.cut(), number(cut), "{name}");
        }
        let wanted = entry["docs"].as_array().unwrap();
        assert_eq!(prepared.documents(), wanted.len(), "{name}");
        let answers: Vec<_> = wanted.iter().flat_map(answers).collect();
        let result = prepared.finish(&answers).unwrap();
        for (made, wanted) in result.docs.iter().zip(wanted) {
            let made = serde_json::to_value(made).unwrap();
            assert_eq!(
                made,
                without_f64(wanted),
                "{name}, document {}",
                wanted["id"]
            );
        }
        metrics(name, &result, entry);
        TaskResult {
            name: name.to_owned(),
            ..result
        }
    }

    fn prepare(&self, task: &Arc<Task>, base: &str, end: &str, options: &Options) -> Prepared {
        let file = |name: String| self.folder.join("tasks").join(name);
        let pool = match task.shots(options.shots) {
            0 => Vec::new(),
            _ => read(&file(format!("{base}.train.{end}"))),
        };
        let documents = open(&file(format!("{base}.{end}")));
        prepare(task, documents, &pool, options, &self.encoder).unwrap()
    }

    /// Single requests, also those that the harness fails on.
    fn requests(&self) {
        let asked = read(&self.folder.join("tasks/requests.jsonl"));
        let wanted = self.expected["requests"].as_array().unwrap();
        assert_eq!(asked.len(), wanted.len());
        for (i, (request, wanted)) in asked.iter().zip(wanted).enumerate() {
            let text = |field: &str| request.fields[field].as_str().unwrap();
            let made = encode_request(&self.encoder, text("context"), text("continuation"));
            let made = made.and_then(|tokens| tokens.check_length(self.length).map(|()| tokens));
            match made {
                Ok(tokens) => {
                    assert_eq!(wanted.get("error"), None, "request {i}");
                    assert_eq!(
                        serde_json::to_value(&tokens.head).unwrap(),
                        wanted["context_tokens"],
                        "request {i}"
                    );
                    assert_eq!(
                        serde_json::to_value(&tokens.tail).unwrap(),
                        wanted["continuation_tokens"],
                        "request {i}"
                    );
                }
                Err(fault) => assert!(wanted.get("error").is_some(), "request {i}: {fault}"),
            }
        }
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

/// The task, number of examples and sampler of a name such as `arc_easy_5shot_first`.
fn setting(name: &str) -> (&str, usize, Sampler) {
    let (name, sampler) = match name.strip_suffix("_first") {
        Some(name) => (name, Sampler::FirstN),
        None => (name, Sampler::Default),
    };
    let shots = name.strip_suffix("shot").and_then(|name| {
        let (base, shots) = name.rsplit_once('_')?;
        Some((base, shots.parse().ok()?))
    });
    let (base, shots) = shots.unwrap_or((name, 0));
    (base, shots, sampler)
}

/// The harness's answers for a document.
fn answers(document: &Value) -> Vec<TokenScore> {
    let asked = document
        .get("requests")
        .or(document.get("windows"))
        .unwrap();
    let answer = |request: &Value| TokenScore {
        log_likelihood: request["loglikelihood"].as_f64().unwrap(),
        greedy: request
            .get("is_greedy")
            .is_some_and(|greedy| greedy == true),
    };
    asked.as_array().unwrap().iter().map(answer).collect()
}

/// A document without what the harness computed once more in f64.
fn without_f64(document: &Value) -> Value {
    let mut document = document.clone();
    for key in ["requests", "windows"] {
        for request in document
            .get_mut(key)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            request.as_object_mut().unwrap().remove("loglikelihood_f64");
        }
    }
    document
        .as_object_mut()
        .unwrap()
        .remove("loglikelihood_f64");
    document
}

/// Compares the metrics of a task, all of them.
fn metrics(name: &str, result: &TaskResult, entry: &Value) {
    let wanted = entry["metrics"].as_object().unwrap();
    assert_eq!(wanted.len(), 2 * result.metrics.len(), "{name}");
    for metric in &result.metrics {
        let exact = matches!(metric.name, "acc" | "acc_norm");
        close(
            name,
            metric.value,
            &wanted[metric.name],
            if exact { 0.0 } else { 1e-12 },
        );
        let stderr = &wanted[&format!("{}_stderr", metric.name)];
        match metric.stderr {
            Some(value) => close(
                name,
                value,
                stderr,
                if metric.name == "perplexity" {
                    1e-9
                } else {
                    1e-12
                },
            ),
            None => assert_eq!(stderr, "N/A", "{name}"),
        }
    }
    for (more, value) in entry
        .get("more")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let metric = result.more.iter().find(|metric| metric.name == more);
        close(
            name,
            metric.unwrap().value,
            value,
            if more == "acc_bytes" { 0.0 } else { 1e-12 },
        );
    }
}

/// Compares two numbers, with a tolerance relative to the second one.
fn close(name: &str, made: f64, wanted: &Value, tolerance: f64) {
    let wanted = wanted.as_f64().unwrap();
    let far = (made - wanted).abs() > tolerance * wanted.abs();
    assert!(!far, "{name}: {made} instead of {wanted}");
}

#[test]
fn documents_become_what_the_harness_makes_of_them() {
    Cases::open(&fixtures("cases")).check();
}

/// The same for a folder of one's own: `EVENBURN_EVAL_CASES=FOLDER`.
#[test]
fn documents_of_another_folder_do_too() {
    match std::env::var_os("EVENBURN_EVAL_CASES") {
        Some(folder) => Cases::open(Path::new(&folder)).check(),
        None => eprintln!("SKIPPED: EVENBURN_EVAL_CASES names no folder with cases of the harness"),
    }
}
