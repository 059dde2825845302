//! Benchmarks that are measured while a run trains.

use crate::benchmark_data::{documents, fill_hub};
use crate::hub::Hub;
use crate::program::{refusal, sandbox, text};
use evenburn_tests::cli::{Sandbox, Trace};
use std::fs;

/// A task of a user's own: which number goes on with a sum.
const SUMS: &str = "
name = 'sums'
description = 'Which number is the sum?'
kind = 'multiple_choice'
context = '{{ sum }} ='
choices = ['{{ right }}', '{{ wrong }}']
gold = 0

[dataset]
path = 'sums.jsonl'
";

/// A text whose likelihood is measured.
const LINES: &str = "
name = 'lines'
description = 'How likely are some lines?'
kind = 'rolling'
text = '{{ line }}'

[dataset]
path = 'lines.jsonl'
";

fn with_tasks(sandbox: &Sandbox) {
    let line = |value: serde_json::Value| format!("{value}\n");
    let sums: String = (1..40_u32)
        .map(|n| {
            let (a, b) = (n * 7 % 10, n * 3 % 10);
            line(serde_json::json!({
                "sum": format!("{a} + {b}"),
                "right": (a + b).to_string(),
                "wrong": (a + b + 1 + n % 3).to_string(),
            }))
        })
        .collect();
    let lines: String = (0..9)
        .map(|n| line(serde_json::json!({ "line": format!("Item {n} has {n} parts. ").repeat(n) })))
        .collect();
    for (name, contents) in [
        ("sums.toml", SUMS),
        ("lines.toml", LINES),
        ("sums.jsonl", &sums),
        ("lines.jsonl", &lines),
    ] {
        fs::write(sandbox.path(name), contents).unwrap();
    }
}

/// The lines of a run's history.
fn history(sandbox: &Sandbox, run: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(sandbox.path(run).join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The steps that have a value.
fn steps(history: &[serde_json::Value], name: &str) -> Vec<u64> {
    let measured = history.iter().filter(|line| line[name].is_number());
    measured
        .map(|line| line["step"].as_u64().unwrap())
        .collect()
}

#[test]
fn benchmarks_are_measured_on_the_way_and_change_nothing() {
    let (_folder, sandbox) = sandbox();
    with_tasks(&sandbox);
    let with = [
        "--train.steps",
        "12",
        "--eval.tasks",
        "sums.toml",
        "--eval.every",
        "5",
        "--eval.limit",
        "30",
        "--eval.task",
        "[{ name = 'lines.toml', every = 4, limit = 5 }]",
    ];
    text(&sandbox, &Sandbox::train("simple_norm", "with", &with));
    text(
        &sandbox,
        &Sandbox::train("simple_norm", "without", &with[..2]),
    );
    let measured = history(&sandbox, "with");
    assert_eq!(steps(&measured, "eval/sums/acc"), [5, 10, 12]);
    assert_eq!(steps(&measured, "eval/sums/acc_centered"), [5, 10, 12]);
    assert_eq!(steps(&measured, "eval/lines/bits_per_byte"), [4, 8, 12]);
    // With the loss at step 10.
    assert_eq!(steps(&measured, "perf/eval_ms"), [4, 5, 8, 10, 12]);
    let traces = ["with", "without"].map(|run| Trace::read(&sandbox.path(run), 12).unwrap());
    assert!(traces[0].model == traces[1].model && traces[0].optim == traces[1].optim);

    // The last measurement is that of the last checkpoint.
    let evaluated = |task: &str, limit: &str| -> serde_json::Value {
        let asked = ["eval", "with", "--tasks", task, "--limit", limit, "--json"];
        serde_json::from_str(&text(&sandbox, &asked)).unwrap()
    };
    let last = measured.last().unwrap();
    for (task, limit, metric) in [
        ("sums", "30", "acc"),
        ("sums", "30", "acc_norm"),
        ("lines", "5", "bits_per_byte"),
        ("lines", "5", "word_perplexity"),
    ] {
        let found = evaluated(&format!("{task}.toml"), limit);
        let found = found["tasks"][task]["metrics"][metric].as_f64().unwrap();
        let on_the_way = last[format!("eval/{task}/{metric}")].as_f64().unwrap();
        let error = (found / on_the_way - 1.0).abs();
        assert!(error < 1e-5, "{task} {metric}: {found} {on_the_way}");
    }

    // A run that goes on measures as one that wasn't interrupted, and may be asked for other tasks.
    let stopped = [&with[..], &["--train.stop_after", "6"]].concat();
    text(
        &sandbox,
        &Sandbox::train("simple_norm", "stopped", &stopped),
    );
    text(&sandbox, &["train", "--resume", "stopped"]);
    let resumed = Trace::read(&sandbox.path("stopped"), 12).unwrap();
    assert!(resumed == traces[0]);
    let more = ["train", "--resume", "without", "--eval.tasks", "sums.toml"];
    text(&sandbox, &more);
}

#[test]
fn what_is_wrong_with_benchmarks_is_said_before_training() {
    let (_folder, sandbox) = sandbox();
    with_tasks(&sandbox);
    fs::write(
        sandbox.path("lines.jsonl"),
        "{\"line\": \"a\"}\n{\"lime\": \"b\"}\n",
    )
    .unwrap();
    let twice = "[{ name = 'sums.toml' }, { name = 'sums.toml' }]";
    for (key, value, parts) in [
        ("--eval.tasks", "helaswag", &["helaswag", "hellaswag"][..]),
        ("--eval.tasks", "lines.toml", &["lines.jsonl", "line"]),
        ("--eval.task", twice, &["eval/sums/acc"]),
        ("--eval.shots", "-1", &["eval.shots"]),
    ] {
        let arguments = Sandbox::train("pre_norm", "run", &["--train.steps", "2", key, value]);
        let said = refusal(&sandbox.run(&arguments).unwrap());
        for part in parts {
            assert!(said.contains(part), "{value}: {said}");
        }
        assert!(!sandbox.path("run").exists(), "{value}");
    }
}

/// From the data sets of the hub, at the commits that it has, and with the same values as from a folder.
#[test]
fn benchmarks_of_the_hub() {
    let root = tempfile::tempdir().unwrap();
    fill_hub(root.path());
    let Some(hub) = Hub::start_with(root.path(), &serde_json::json!([])) else {
        return;
    };
    let (_folder, sandbox) = sandbox();
    let home = sandbox.path("hf");
    let tasks = documents().join("tasks").display().to_string();
    let of = |run: &str, more: &[&str]| {
        let asked = [
            "--train.steps",
            "3",
            "--eval.tasks",
            "hellaswag, piqa,lambada",
            "--eval.every",
            "2",
            // As long as their continuations in letters.
            "--model.context",
            "512",
        ];
        let arguments = Sandbox::train("simple_norm", run, &[&asked, more].concat());
        let mut command = sandbox.command(&arguments);
        let ran = command
            .env("HF_ENDPOINT", &hub.api)
            .env("HF_HOME", &home)
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        let measured = history(&sandbox, run);
        assert_eq!(steps(&measured, "eval/hellaswag/acc_norm"), [2, 3]);
        let last = measured.last().unwrap().as_object().unwrap().clone();
        let values = last
            .into_iter()
            .filter(|(name, _)| name.starts_with("eval/"));
        values.collect::<serde_json::Map<_, _>>()
    };
    let there = of("there", &[]);
    assert!(
        there.contains_key("eval/piqa/acc") && there.contains_key("eval/lambada_openai/perplexity")
    );
    assert_eq!(of("here", &["--eval.data", &tasks]), there);
}
