//! The commands around training, on a run of the program itself.

use crate::program::{sandbox, text};
use evenburn_tests::cli::Sandbox;

#[test]
fn a_run_is_evaluated_sampled_and_described() {
    let (_folder, sandbox) = sandbox();
    let summary = text(&sandbox, &Sandbox::train("angpt", "run", &[]));

    // 256 tokens are what each evaluation of the run read.
    let arguments = ["eval", "run", "--tokens", "256", "--baselines", "--json"];
    let scores: serde_json::Value = serde_json::from_str(&text(&sandbox, &arguments)).unwrap();
    let score = |model: &str| &scores["models"][model];
    for model in ["unigram", "bigram", "model"] {
        assert_eq!(score(model)["tokens"], 256, "{model}");
    }
    let loss = |model: &str| score(model)["loss"].as_f64().unwrap();
    let log = std::fs::read_to_string(sandbox.path("run/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!((last["val/loss"].as_f64().unwrap() - loss("model")).abs() < 1e-6);
    // The summary compares the three on the same tokens.
    let line = format!(
        "unigram {:.2}, bigram {:.2}, model {:.2}",
        loss("unigram"),
        loss("bigram"),
        loss("model")
    );
    assert!(summary.contains(&line), "no `{line}` in {summary}");
    let whole = text(&sandbox, &["eval", "run", "--json"]);
    let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
    assert!(whole["models"]["model"]["tokens"].as_u64().unwrap() > 256);

    let sample = |seed: &str| {
        text(
            &sandbox,
            &["sample", "run", "--prompt", "Item", "--seed", seed],
        )
    };
    assert!(sample("1").starts_with("Item"));
    assert_eq!(sample("1"), sample("1"));
    assert_ne!(sample("1"), sample("2"));

    let described = text(
        &sandbox,
        &["describe", "tiny.toml", "--norm.scheme", "angpt"],
    );
    for part in [
        "attn.scores",
        "parameters: ",
        "operations per token",
        "|w| <= 1 along in",
    ] {
        assert!(described.contains(part), "no `{part}` in {described}");
    }
}

#[test]
fn a_part_of_each_head_turns_in_every_command() {
    let (_folder, sandbox) = sandbox();
    let train = |run: &str, fraction: &str| {
        let more = [
            "--model.rope_fraction",
            fraction,
            "--train.steps",
            "4",
            "--no-baselines",
        ];
        text(&sandbox, &Sandbox::train("pre_norm", run, &more));
        std::fs::read_to_string(sandbox.path(run).join("plan.toml")).unwrap()
    };
    // Whole heads are not written: a plan that was made before there were parts is the same text.
    assert!(!train("whole", "1.0").contains("rope_fraction"));
    assert!(train("part", "0.5").contains("rope_fraction = 0.5"));
    let described = text(&sandbox, &["describe", "part"]);
    assert!(
        described.contains("rotation of 8 of 16 channels"),
        "{described}"
    );
    let described = text(&sandbox, &["describe", "whole"]);
    assert!(!described.contains("rotation"), "{described}");
    let sample = |run: &str| {
        text(
            &sandbox,
            &["sample", run, "--prompt", "Item", "--temperature", "0"],
        )
    };
    let score = |run: &str| text(&sandbox, &["eval", run, "--json"]);
    assert!(score("part") != score("whole"));
    text(&sandbox, &["fold", "part", "--out", "folded"]);
    assert_eq!(sample("folded"), sample("part"));
}

#[test]
fn data_and_configuration_are_shown() {
    let (_folder, sandbox) = sandbox();
    let arguments = [
        "data",
        "inspect",
        "--config",
        "tiny.toml",
        "--data.path",
        "text",
    ];
    let shown = text(&sandbox, &arguments);
    assert!(
        shown.contains("600 documents") && shown.contains("Item 0 has 0 parts"),
        "{shown}"
    );

    let printed = text(
        &sandbox,
        &[
            "config",
            "print",
            "--config",
            "tiny.toml",
            "--optim.lr",
            "0.5",
        ],
    );
    let lr = printed
        .lines()
        .find(|line| line.starts_with("optim.lr "))
        .unwrap();
    assert!(lr.contains("0.5") && lr.contains("command line"), "{lr}");
    let dim = printed
        .lines()
        .find(|line| line.starts_with("model.dim "))
        .unwrap();
    assert!(dim.contains("32") && dim.contains("tiny.toml:4"), "{dim}");

    let train = |out: &str| {
        text(
            &sandbox,
            &["tokenizer", "train", "text", "--vocab", "300", "--out", out],
        )
    };
    train("first.json");
    train("second.json");
    let read = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    assert_eq!(read("first.json"), read("second.json"));
    let ids = text(
        &sandbox,
        &[
            "data",
            "ids",
            "--tokenizer",
            "first.json",
            "text/train",
            "--documents",
            "3",
        ],
    );
    let first: serde_json::Value = serde_json::from_str(ids.lines().next().unwrap()).unwrap();
    assert!(first["text"].as_str().unwrap().starts_with("Item 0") && ids.lines().count() == 3);
}

#[test]
fn every_stage_of_reading_is_measured() {
    let (_folder, sandbox) = sandbox();
    let bench = ["data", "bench", "--data.path", "text"];
    let small = ["--data.tokenizer_vocab", "300", "--threads", "2"];
    let table = text(&sandbox, &[&bench[..], &small].concat());
    let first = table.lines().next().unwrap();
    assert!(first.starts_with("700 documents of 2 files, "), "{table}");
    let stages = ["fetch", "decode", "parse", "tokenize", "pack"];
    for name in stages.iter().chain(&["together"]) {
        assert!(table.lines().any(|line| line.starts_with(name)), "{table}");
    }
    assert!(table.contains("the slowest is "), "{table}");

    let json = text(&sandbox, &[&bench[..], &small, &["--json"]].concat());
    let measured: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&measured["documents"], &measured["threads"]),
        (&700.into(), &2.into())
    );
    let names = measured["stages"].as_array().unwrap().iter();
    assert!(
        names
            .map(|stage| stage["name"].as_str().unwrap())
            .eq(stages)
    );
    assert!(measured["tokens_per_second"].as_f64().unwrap() > 0.0);
    assert!(stages.contains(&measured["slowest"].as_str().unwrap()));

    // With the tokenizer of a file, and up to a limit.
    let learn = [
        "tokenizer",
        "train",
        "text",
        "--vocab",
        "300",
        "--out",
        "t.json",
    ];
    text(&sandbox, &learn);
    let limited = ["--data.tokenizer", "t.json", "--bytes", "100", "--json"];
    let json = text(&sandbox, &[&bench[..], &limited].concat());
    let measured: serde_json::Value = serde_json::from_str(&json).unwrap();
    let bytes = measured["text_bytes"].as_u64().unwrap();
    assert!((100..300).contains(&bytes), "{json}");
    // Nothing of it stays.
    let left = std::fs::read_dir(sandbox.path("cache")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("bench")),
        "{left:?}"
    );

    let output = sandbox
        .run(&["data", "bench", "--data.path", "none"])
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("not_found"),
        "{said}"
    );
}
