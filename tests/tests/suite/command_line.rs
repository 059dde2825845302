//! What the program makes of the words it is given.

use crate::program::{refusal, sandbox, text};
use evenburn_tests::cli::Sandbox;
use evenburn_train::Registry;
use evenburn_train::config::RunConfig;
use std::fs;

/// Text that a shell, a file or a list of options could take for something else.
const TEXTS: [&str; 12] = [
    "\"Quoted\" # and the rest",
    "'single'",
    "\"Hello,\" she said",
    "2024",
    "1e5",
    "true",
    "nan",
    "-- text. More",
    "--train.steps",
    "--",
    "two\nlines # and\n[a]",
    "back\\slash \u{1f525} \t",
];

/// A value as the program prints it, which is a configuration file itself.
fn printed(sandbox: &Sandbox, key: &str, given: &[&str]) -> String {
    let line = [&["config", "print"][..], given].concat();
    value(&text(sandbox, &line), key)
}

/// A value of a configuration file.
fn value(file: &str, key: &str) -> String {
    let config = RunConfig::from_toml(&Registry::default(), "file", file, &[])
        .unwrap()
        .config;
    let flat = config.flatten().unwrap();
    flat[key].as_str().unwrap().to_owned()
}

#[test]
fn text_is_taken_as_it_is() {
    let (_folder, sandbox) = sandbox();
    for key in ["train.prompt", "data.path", "run.name"] {
        for value in TEXTS {
            let option = format!("--{key}");
            let shown = printed(&sandbox, key, &[&option, value]);
            assert_eq!(shown, value, "{key}");
            let joined = format!("--{key}={value}");
            let shown = printed(&sandbox, key, &[&joined]);
            assert_eq!(shown, value, "{key}");
        }
    }
    let list = ["--data.path", "[\"[ab]*.jsonl\"]"];
    assert_eq!(printed(&sandbox, "data.path", &list), "[ab]*.jsonl");
    let output = sandbox.run(&["config", "print", "--data.path", "[ab]*.jsonl"]);
    let stderr = refusal(&output.unwrap());
    assert!(stderr.contains("[\"[ab]*.jsonl\"]"), "{stderr}");
}

#[test]
fn a_run_records_the_text_it_was_given() {
    let (_folder, sandbox) = sandbox();
    fs::rename(sandbox.path("text"), sandbox.path("2024")).unwrap();
    for (n, prompt) in ["\"Quoted\" # it", "--x", "1e5", "two\nlines"]
        .iter()
        .enumerate()
    {
        let run = format!("run{n}");
        let line = ["train", "--config", "tiny.toml", "--data.path", "2024"];
        let more = [
            "--run-dir",
            &run,
            "--train.steps",
            "1",
            "--train.prompt",
            prompt,
        ];
        let summary = text(&sandbox, &[&line[..], &more, &["--no-baselines"]].concat());
        let recorded = fs::read_to_string(sandbox.path(&run).join("config.toml")).unwrap();
        assert_eq!(value(&recorded, "train.prompt"), *prompt);
        assert_eq!(value(&recorded, "data.path"), "2024");
        let sample = fs::read_to_string(sandbox.path(&run).join("samples/step-00000001.txt"));
        assert!(sample.unwrap().starts_with(prompt), "{summary}");
    }
}

#[test]
fn prompts_may_begin_with_dashes() {
    let (_folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("pre_norm", "run", &["--train.steps", "1"]),
    );
    let others = ["-x", "--prompt", "--tokens", "-", "--a.b=c", "-5"];
    for prompt in TEXTS.iter().chain(&others) {
        let line = ["sample", "run", "--tokens", "1", "--prompt", prompt];
        assert!(text(&sandbox, &line).starts_with(prompt), "{prompt:?}");
        let joined = format!("--prompt={prompt}");
        let line = ["sample", "run", &joined, "--tokens", "1"];
        assert!(text(&sandbox, &line).starts_with(prompt), "{prompt:?}");
    }
}

/// A run stands for its configuration wherever one is asked for; another folder is refused in the same words.
#[test]
fn runs_are_configurations() {
    let (_folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("angpt", "run", &["--train.steps", "2"]),
    );
    text(&sandbox, &["fold", "run"]);
    let peer = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/peers/llama");
    text(&sandbox, &["import", peer, "--out", "imported"]);
    let described = text(&sandbox, &["describe", "run"]);
    let configured = [
        "describe",
        "tiny.toml",
        "--norm.scheme",
        "angpt",
        "--train.steps",
        "2",
    ];
    assert_eq!(described, text(&sandbox, &configured));
    for place in ["run/checkpoints/step-00000002", "run/", "./run/."] {
        assert_eq!(described, text(&sandbox, &["describe", place]));
    }
    let folded = text(&sandbox, &["describe", "run/folded/step-00000002"]);
    assert!(
        folded.contains("parameters: ") && folded != described,
        "{folded}"
    );
    let imported = text(&sandbox, &["describe", "imported"]);
    assert!(imported.contains("parameters: "), "{imported}");
    let wider = text(&sandbox, &["describe", "run", "--model.dim", "64"]);
    assert!(wider.contains("width 64"), "{wider}");
    let fixed = ["describe", "run/folded/step-00000002", "--model.dim", "64"];
    let stderr = refusal(&sandbox.run(&fixed).unwrap());
    assert!(
        stderr.contains("model.dim") && stderr.contains("folded"),
        "{stderr}"
    );

    let shown = text(&sandbox, &["config", "print", "--config", "run"]);
    assert!(shown.contains("run/config.toml:"), "{shown}");
    let shown = text(
        &sandbox,
        &["data", "inspect", "--config", "run", "--documents", "1"],
    );
    assert!(shown.contains("Item 0 has 0 parts"), "{shown}");
    let again = [
        "train",
        "--config",
        "run",
        "--run-dir",
        "again",
        "--no-baselines",
    ];
    text(&sandbox, &again);
    let weights = |run: &str| {
        let file = format!("{run}/checkpoints/step-00000002/model.safetensors");
        fs::read(sandbox.path(&file)).unwrap()
    };
    assert_eq!(weights("run"), weights("again"));

    fs::create_dir(sandbox.path("empty")).unwrap();
    let folders: [&[&str]; 8] = [
        &["describe", "empty"],
        &["config", "print", "--config", "empty"],
        &["data", "inspect", "--config", "empty"],
        &["train", "--config", "empty"],
        &["train", "--resume", "empty"],
        &["eval", "empty"],
        &["sample", "text"],
        &["describe", "run/checkpoints"],
    ];
    for line in folders {
        let stderr = refusal(&sandbox.run(line).unwrap());
        assert!(
            stderr.contains("is not a run directory"),
            "{line:?}: {stderr}"
        );
    }
    fs::write(sandbox.path("latin.toml"), b"[run]\nname = \"caf\xe9\"\n").unwrap();
    let stderr = refusal(&sandbox.run(&["describe", "latin.toml"]).unwrap());
    assert!(stderr.contains("latin.toml:2: not valid UTF-8"), "{stderr}");
}
