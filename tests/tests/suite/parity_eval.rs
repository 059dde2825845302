//! Evaluation beside what lm-evaluation-harness computed of the same model and documents.

use evenburn_parity::eval::{self, Eval};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/eval/tests/fixtures/cases")
}

fn expected() -> Value {
    let text = fs::read_to_string(fixtures().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A folder with the model, the documents of some tasks, and perhaps what is expected.
fn folder(tasks: &[&str], expected: Option<&Value>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["model", "tasks"] {
        fs::create_dir(folder.path().join(part)).unwrap();
        for file in fs::read_dir(fixtures().join(part)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let wanted = |task: &&str| name.starts_with(&format!("{task}."));
            if part == "model" || tasks.iter().any(wanted) {
                let place = Path::new(part).join(&name);
                fs::copy(fixtures().join(&place), folder.path().join(place)).unwrap();
            }
        }
    }
    if let Some(expected) = expected {
        fs::write(folder.path().join("expected.json"), expected.to_string()).unwrap();
    }
    folder
}

/// The lines with differences, and the places of these.
fn places(eval: &Eval) -> Vec<(&str, Vec<&str>)> {
    let failed = eval
        .lines
        .iter()
        .filter(|line| !line.differences.is_empty());
    failed
        .map(|line| {
            let places = line.differences.iter().map(|it| it.place.as_str());
            (line.name.as_str(), places.collect())
        })
        .collect()
}

#[test]
fn everything_agrees_with_the_harness() {
    let eval = eval::run(&fixtures()).unwrap();
    assert!(eval.passes(), "{eval}");
    assert!(eval.compared);
    assert!(eval.notes.is_empty(), "{eval}");
    // Every task, the group, the single requests, the model.
    assert_eq!(eval.lines.len(), 11 + 3, "{eval}");
    // What is written is a folder's expectation in turn.
    let again = folder(
        &["piqa", "wikitext", "requests"],
        Some(&only(eval.answers, &["piqa", "wikitext"])),
    );
    let eval = eval::run(again.path()).unwrap();
    assert!(eval.passes(), "{eval}");
    assert!(
        eval.to_string().contains("differ by 0.0e0 at most"),
        "{eval}"
    );
}

/// An expectation of some tasks and no groups.
fn only(mut expected: Value, tasks: &[&str]) -> Value {
    let all = expected["tasks"].as_object_mut().unwrap();
    all.retain(|name, _| tasks.contains(&name.as_str()));
    expected["groups"] = json!({});
    expected
}

#[test]
fn each_wrong_number_is_noticed() {
    let tasks = ["piqa", "lambada_openai", "wikitext", "winogrande"];
    let mut wrong = only(expected(), &tasks);
    wrong["groups"]["blimp"] = json!({ "tasks": [], "metrics": { "acc": 0.5 } });
    let near = |value: &mut Value, factor: f64| {
        *value = json!(value.as_f64().unwrap() * factor);
    };
    let all = &mut wrong["tasks"];
    near(
        &mut all["piqa"]["docs"][1]["requests"][0]["loglikelihood"],
        1.000_02,
    );
    // As much as is allowed.
    near(
        &mut all["piqa"]["docs"][2]["requests"][0]["loglikelihood"],
        1.000_005,
    );
    near(&mut all["piqa"]["metrics"]["acc_stderr"], 1.0 + 1e-9);
    all["lambada_openai"]["docs"][0]["requests"][0]["is_greedy"] = json!(null);
    near(&mut all["lambada_openai"]["metrics"]["perplexity"], 1.01);
    near(
        &mut all["lambada_openai"]["metrics"]["perplexity_stderr"],
        1.02,
    );
    all["wikitext"]["docs"][0]["windows"][0]["scored_tokens"] = json!(1);
    all["wikitext"]["docs"].as_array_mut().unwrap().pop();
    all["winogrande"]["docs"][0]["context_tokens"][1][2] = json!(0);
    wrong["requests"][0] = json!({ "error": "AssertionError" });
    let folder = folder(
        &[&tasks[..], &["requests", "hellaswag"]].concat(),
        Some(&wrong),
    );
    let eval = eval::run(folder.path()).unwrap();
    assert!(!eval.passes());
    let wanted = [
        (
            "lambada_openai",
            vec![
                "docs[0].requests[0].is_greedy",
                "metrics.perplexity",
                "metrics.perplexity_stderr",
            ],
        ),
        (
            "piqa",
            vec!["docs[1].requests[0].loglikelihood", "metrics.acc_stderr"],
        ),
        (
            "wikitext",
            vec!["docs[0].windows[0].scored_tokens", "length of docs"],
        ),
        ("winogrande", vec!["docs[0].context_tokens[1][2]"]),
        ("blimp", vec!["tasks", "metrics.acc"]),
        ("single requests", vec!["requests[0].error"]),
    ];
    assert_eq!(places(&eval), wanted, "{eval}");
    let [note] = eval.notes.as_slice() else {
        panic!("{eval}");
    };
    assert!(note.starts_with("hellaswag: left out"), "{note}");
}

#[test]
fn nothing_is_compared_where_nothing_is_expected() {
    let folder = folder(&["piqa", "wikitext"], None);
    fs::write(folder.path().join("tasks/unheard_of.jsonl"), "{}").unwrap();
    let eval = eval::run(folder.path()).unwrap();
    assert!(!eval.compared);
    assert!(eval.to_string().ends_with("nothing was compared"), "{eval}");
    assert!(eval.notes[0].starts_with("unheard_of: left out"), "{eval}");
    let written = folder.path().join("answers.json");
    eval::write(&eval, &written).unwrap();
    let text = fs::read_to_string(written).unwrap();
    let written: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(written["tasks"]["piqa"]["documents"], 5);
    assert_eq!(
        written["tasks"]["piqa"]["metrics"]["acc"],
        expected()["tasks"]["piqa"]["metrics"]["acc"]
    );
    assert!(written["tasks"]["wikitext"].get("more").is_none());
}

#[test]
fn folders_that_can_not_be_read_are_errors() {
    let wrong = |folder: &TempDir, part: &str| {
        let error = format!("{:#}", eval::run(folder.path()).unwrap_err());
        assert!(error.contains(part), "{error}");
    };
    wrong(&tempfile::tempdir().unwrap(), "no folder of cases");
    let of = |tasks: Value| json!({ "tasks": tasks });
    let entry = json!({ "num_fewshot": 0, "documents": 5 });
    wrong(
        &folder(&[], Some(&of(json!({ "piqa": entry })))),
        "tasks/piqa.jsonl",
    );
    wrong(
        &folder(&["piqa"], Some(&of(json!({ "piqa": {} })))),
        "`tasks.piqa.num_fewshot`",
    );
    wrong(
        &folder(&[], Some(&of(json!({ "no_such_task": entry })))),
        "no_such_task",
    );
    let few = json!({ "num_fewshot": 3, "documents": 5 });
    wrong(
        &folder(&["winogrande"], Some(&of(json!({ "winogrande": few })))),
        "winogrande.train",
    );
    let damaged = folder(&["piqa"], None);
    fs::write(damaged.path().join("tasks/piqa.jsonl"), "{\"goal\": 1}\n").unwrap();
    wrong(&damaged, "piqa.jsonl, line 1");
    fs::write(damaged.path().join("model/config.json"), "[]").unwrap();
    wrong(&damaged, "config.json");
}
