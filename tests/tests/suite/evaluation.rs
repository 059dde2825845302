//! `evenburn eval --tasks`: from documents at every place to metrics.

use crate::benchmark_data::{about_tokenizer, documents, fill_hub, write_model};
use crate::hub::Hub;
use crate::program::{refusal, sandbox, text};
use evenburn_tests::cli::Sandbox;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const TASKS: &str = "hellaswag,arc_easy,arc_challenge,winogrande,lambada_openai,piqa,blimp_anaphor_number_agreement,wikitext";

/// The numbers of each task.
fn numbers(told: &str) -> BTreeMap<String, Value> {
    let told: Value = serde_json::from_str(told).unwrap();
    let tasks = told["tasks"].as_object().unwrap();
    let numbers = |task: &Value| json!([task["metrics"], task["more"], task["documents"]]);
    tasks
        .iter()
        .map(|(name, task)| (name.clone(), numbers(task)))
        .collect()
}

/// The same numbers from the hub, from a copy of its files, and from a file a task.
#[test]
fn every_place_gives_the_same_numbers() {
    let root = tempfile::tempdir().unwrap();
    fill_hub(root.path());
    let Some(hub) = Hub::start_with(root.path(), &json!([])) else {
        return;
    };
    let with = ["--tasks", TASKS, "--limit", "3", "--json"];
    let there = hub.told(&[&["eval", "hf://org/tiny"], &with[..]].concat());
    let told: Value = serde_json::from_str(&there).unwrap();
    let place = told["model"]["place"].as_str().unwrap();
    assert!(place.starts_with("hf://org/tiny@"), "{place}");
    for (name, task) in told["tasks"].as_object().unwrap() {
        let data = &task["data"];
        let commit = data["commit"].as_str().unwrap();
        let place = data["place"].as_str().unwrap();
        assert!(place.contains(commit) || name == "piqa", "{name}: {data}");
    }
    assert_eq!(told["tasks"]["hellaswag"]["documents"], 3);
    let tasks = documents().join("tasks");
    let model = root.path().join("models/org/tiny");
    let here = |data: &Path, tasks: &str| {
        let arguments = [
            "eval",
            model.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ];
        let with = ["--fresh", "--tasks", tasks, "--limit", "3", "--json"];
        numbers(&hub.told(&[&arguments[..], &with].concat()))
    };
    assert_eq!(here(&tasks, TASKS), numbers(&there));
    let without_piqa = TASKS.replace("piqa,", "");
    let mut expected = numbers(&there);
    expected.remove("piqa");
    assert_eq!(here(&root.path().join("datasets"), &without_piqa), expected);

    // The commit that was read can be asked for; another one can't be had.
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/eval/tasks");
    let toml = fs::read_to_string(built_in.join("hellaswag.toml")).unwrap();
    let at = |revision: &str| {
        let pinned = format!("Rowan/hellaswag@{revision}\"");
        let file = hub.home.path().join(format!("{revision}.toml"));
        fs::write(&file, toml.replace("Rowan/hellaswag\"", &pinned)).unwrap();
        file.display().to_string()
    };
    let commit = told["tasks"]["hellaswag"]["data"]["commit"]
        .as_str()
        .unwrap();
    let pinned = hub.told(&[
        "eval",
        "hf://org/tiny",
        "--tasks",
        &at(commit),
        "--limit",
        "3",
        "--json",
    ]);
    assert_eq!(numbers(&pinned)["hellaswag"], numbers(&there)["hellaswag"]);
    let error = hub.refused(&["eval", "hf://org/tiny", "--tasks", &at("v7")]);
    assert!(
        error.contains("task `hellaswag`") && error.contains("@v7"),
        "{error}"
    );
}

/// A folder with a model and two tasks of one's own.
fn own_tasks(sandbox: &Sandbox) {
    write_model(&sandbox.path("model"), &about_tokenizer());
    for name in ["first", "second"] {
        let toml = format!(
            "name = '{name}'\ndescription = 'Sums.'\nkind = 'multiple_choice'\ncontext = '{{{{ sum }}}} ='\n\
             choices = 'choices'\ngold = 'right'\n[dataset]\npath = '{name}.jsonl'\n[examples]\npath = 'pool.jsonl'\n"
        );
        fs::write(sandbox.path(&format!("{name}.toml")), toml).unwrap();
        write_sums(sandbox, name, 24);
    }
    write_sums(sandbox, "pool", 9);
}

fn write_sums(sandbox: &Sandbox, name: &str, count: usize) {
    let line = |n: usize| {
        let wrong = format!("{} apples", n + 1);
        let right = format!("{}", n % 10 + 3);
        json!({"sum": format!("{name} {n} + 3"), "choices": [right, wrong, "no"], "right": n % 3})
            .to_string()
    };
    let lines: Vec<String> = (0..count).map(line).collect();
    fs::write(sandbox.path(&format!("{name}.jsonl")), lines.join("\n")).unwrap();
}

#[test]
fn what_is_finished_is_kept() {
    let (_folder, sandbox) = sandbox();
    own_tasks(&sandbox);
    let eval = |tasks: &str, more: &[&str]| {
        let arguments = [&["eval", "model", "--json", "--tasks", tasks], more].concat();
        let output = sandbox.run(&arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    };
    let (_, said) = eval("first.toml", &[]);
    assert!(!said.contains("kept"), "{said}");
    let (both, said) = eval("first.toml,second.toml", &[]);
    assert!(
        said.contains("first: kept") && !said.contains("second: kept"),
        "{said}"
    );
    let (again, said) = eval("first.toml,second.toml", &["--fresh"]);
    assert!(!said.contains("kept"), "{said}");
    assert_eq!(numbers(&both), numbers(&again));
    // Other examples, other documents and other passes are other questions.
    for more in [&["--shots", "2"][..], &["--limit", "3"], &["--one-by-one"]] {
        assert!(!eval("first.toml", more).1.contains("kept"), "{more:?}");
        assert!(eval("first.toml", more).1.contains("kept"), "{more:?}");
    }
    write_sums(&sandbox, "first", 25);
    assert!(!eval("first.toml", &[]).1.contains("kept"));
    // So are those of another model.
    let about = json!({"eos_token": "<|endoftext|>", "bos_token": null});
    write_model(&sandbox.path("model"), &about);
    assert!(eval("first.toml", &[]).1.contains("kept"));
    let mut weights = fs::read(sandbox.path("model/model.safetensors")).unwrap();
    *weights.last_mut().unwrap() ^= 1;
    fs::write(sandbox.path("model/model.safetensors"), weights).unwrap();
    assert!(!eval("first.toml", &[]).1.contains("kept"));
}

/// Ctrl-C ends a task and nothing before it.
#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_goes_on() {
    use std::process::Command;
    use std::time::{Duration, Instant};

    let (_folder, sandbox) = sandbox();
    own_tasks(&sandbox);
    write_sums(&sandbox, "second", 20_000);
    let mut slow = sandbox.command(&[
        "eval",
        "model",
        "--json",
        "--one-by-one",
        "--tasks",
        "first.toml,second.toml",
    ]);
    let running = slow.spawn().unwrap();
    let start = Instant::now();
    let kept = sandbox.path("cache/evaluations");
    while !fs::read_dir(&kept).is_ok_and(|mut files| files.next().is_some()) {
        assert!(start.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = running.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let ended = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 2 tasks are finished"), "{said}");
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(told["interrupted"], true);
    assert_eq!(told["tasks"].as_object().unwrap().len(), 1);
    write_sums(&sandbox, "second", 24);
    let again = [
        "eval",
        "model",
        "--one-by-one",
        "--tasks",
        "first.toml,second.toml",
    ];
    let output = sandbox.run(&again).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("first: kept"),
        "{said}"
    );
}

#[test]
fn answers_are_written_and_shown() {
    let (_folder, sandbox) = sandbox();
    own_tasks(&sandbox);
    let arguments = [
        "eval",
        "model",
        "--tasks",
        "first.toml",
        "--log-samples",
        "out",
    ];
    let shown = text(&sandbox, &arguments);
    let first = shown.lines().next().unwrap();
    assert_eq!(first, "model: LlamaForCausalLM, context 256");
    for part in ["acc_norm", "centered", "bits/byte"] {
        assert!(shown.contains(part), "{shown}");
    }
    let lines = fs::read_to_string(sandbox.path("out/first.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 24);
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(line["requests"][0]["continuation"], " 3");
    let listed = text(&sandbox, &["eval", "--tasks", "list"]);
    for part in [
        "hellaswag",
        "lambada_openai, lambada",
        "group of 67 tasks",
        "CC-BY-SA-4.0",
    ] {
        assert!(listed.contains(part), "{part}: {listed}");
    }
}

/// Runs side by side, and the checkpoints of one.
#[test]
fn several_models() {
    let (_folder, sandbox) = sandbox();
    own_tasks(&sandbox);
    for (scheme, run) in [("pre_norm", "a"), ("angpt", "b")] {
        let more = [
            "--train.steps",
            "4",
            "--train.eval_every",
            "4",
            "--no-baselines",
        ];
        text(&sandbox, &Sandbox::train(scheme, run, &more));
    }
    let with = ["--tasks", "first.toml", "--json"];
    let told = text(&sandbox, &[&["eval", "a", "b", "a"], &with[..]].concat());
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["models"].as_array().unwrap().len(), 3);
    let acc = |model: usize| {
        let metrics = &told["models"][model]["tasks"]["first"]["metrics"];
        metrics["acc"].as_f64().unwrap()
    };
    let differences = told["differences"].as_array().unwrap();
    let of_acc: Vec<_> = differences
        .iter()
        .filter(|it| it["metric"] == "acc")
        .collect();
    assert_eq!(of_acc.len(), 2);
    let found = of_acc[0]["difference"].as_f64().unwrap();
    assert!((found - (acc(1) - acc(0))).abs() < 1e-12);
    assert_eq!(of_acc[1]["difference"], 0.0);
    assert_eq!(of_acc[1]["stderr"], 0.0);
    let shown = text(&sandbox, &["eval", "a", "b", "--tasks", "first.toml"]);
    assert!(shown.contains("[2]-[1]"), "{shown}");
    assert!(
        shown.lines().next().unwrap().contains("after step 4"),
        "{shown}"
    );

    let curve = ["eval", "a", "--checkpoints", "all", "--tasks", "first.toml"];
    let shown = text(&sandbox, &curve);
    let steps: Vec<_> = shown
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .collect();
    assert_eq!(steps, [2, 4]);
}

/// Each with one error that says where and what.
#[test]
fn wrong_input_is_named() {
    let (_folder, sandbox) = sandbox();
    own_tasks(&sandbox);
    let refused = |arguments: &[&str], parts: &[&str]| {
        let output = sandbox.run(&[&["eval"], arguments].concat()).unwrap();
        let said = refusal(&output);
        for part in parts {
            assert!(said.contains(part), "{arguments:?}: {part}: {said}");
        }
    };
    refused(
        &["model", "--tasks", "helaswag"],
        &["`helaswag`", "`hellaswag`"],
    );
    refused(&["--tasks", "piqa"], &["name a model"]);
    refused(&["nowhere", "--tasks", "piqa"], &["nowhere"]);
    refused(
        &["model", "--tasks", "piqa", "--data", "nowhere"],
        &["--data", "nowhere"],
    );
    refused(
        &["model", "--tasks", "piqa", "--data", "."],
        &["task `piqa`", "piqa.jsonl", "baber/piqa"],
    );
    refused(
        &["model", "--tasks", "first.toml", "--data.path", "x"],
        &["data.path"],
    );
    for (line, parts) in [
        (json!({"sum": "1", "choices": ["a"]}), &["right"][..]),
        (
            json!({"sum": "1", "choices": ["a"], "right": 1}),
            &["`gold`", "is 1, and there are 1"],
        ),
        (
            json!({"sum": "1", "choices": [], "right": 0}),
            &["`choices`"],
        ),
        (json!([1]), &["is no JSON object"]),
    ] {
        let good = json!({"sum": "1", "choices": ["a", "b"], "right": 0});
        fs::write(sandbox.path("second.jsonl"), format!("{good}\n{line}\n")).unwrap();
        let all = [&["second.jsonl, line 2"], parts].concat();
        refused(&["model", "--tasks", "second.toml"], &all);
        let skip = [
            "eval",
            "model",
            "--tasks",
            "second.toml",
            "--on-bad",
            "skip",
            "--json",
        ];
        let told: Value = serde_json::from_str(&text(&sandbox, &skip)).unwrap();
        assert_eq!(told["tasks"]["second"]["skipped"], 1, "{line}");
    }
    fs::write(sandbox.path("second.jsonl"), "\n").unwrap();
    refused(
        &["model", "--tasks", "second.toml"],
        &["holds no documents"],
    );
    // Splits and configurations that a folder hasn't got.
    fs::create_dir_all(sandbox.path("set/easy")).unwrap();
    fs::copy(
        sandbox.path("first.jsonl"),
        sandbox.path("set/easy/train.jsonl"),
    )
    .unwrap();
    for (more, parts) in [
        (
            "split = 'test'",
            &["has no split `test`", "there are train"][..],
        ),
        ("config = 'hard'", &["has no configuration `hard`", "easy"]),
    ] {
        let toml = fs::read_to_string(sandbox.path("first.toml")).unwrap();
        let toml = toml.replace("path = 'first.jsonl'", &format!("path = 'set'\n{more}"));
        fs::write(sandbox.path("third.toml"), toml).unwrap();
        let all = [&["task `first`", "set"], parts].concat();
        refused(&["model", "--tasks", "third.toml"], &all);
    }
    // Nothing says which token ends a text.
    write_model(&sandbox.path("model"), &json!({}));
    refused(
        &["model", "--tasks", "first.toml"],
        &["tokenizer.json", "--data.eod_token"],
    );
}
