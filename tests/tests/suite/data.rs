//! Text that moves, text that is a single file, and text that some other place holds too.

use crate::program::{sandbox, text};
use evenburn_tests::cli::{Sandbox, Trace};
use std::fs;

/// What the program says on standard error where it succeeds, or fails.
fn said(sandbox: &Sandbox, arguments: &[&str], code: i32) -> String {
    let output = sandbox.run(arguments).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stderr}");
    stderr
}

/// The same run, half of it before its text moved.
#[test]
fn a_run_goes_on_where_its_text_lies_now() {
    let (_folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("simple_norm", "whole", &["--train.steps", "8"]),
    );
    let whole = Trace::read(&sandbox.path("whole"), 8).unwrap();
    let half = ["--train.steps", "8", "--train.stop_after", "4"];
    let (at, elsewhere) = (sandbox.path("text"), sandbox.path("elsewhere"));
    let words = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let [train, validation] =
        ["train", "validation"].map(|s| words(&elsewhere.join(s).join("items.jsonl")));
    let single = format!("[{train:?}]");
    // How the moved text is named: as the folder, by another spelling, or file by file.
    let spelled = format!("{}/../elsewhere/.", words(&elsewhere));
    let folder = words(&elsewhere);
    for (run, given) in [
        ("a", vec!["--data.path", folder.as_str()]),
        ("b", vec!["--data.path", spelled.as_str()]),
        (
            "c",
            vec![
                "--data.path",
                train.as_str(),
                "--data.validation_path",
                validation.as_str(),
            ],
        ),
        (
            "d",
            vec![
                "--data.path",
                single.as_str(),
                "--data.validation_path",
                validation.as_str(),
            ],
        ),
    ] {
        text(&sandbox, &Sandbox::train("simple_norm", run, &half));
        fs::rename(&at, &elsewhere).unwrap();
        let lost = said(&sandbox, &["train", "--resume", run, "--no-baselines"], 2);
        assert!(
            lost.contains("data.path") && lost.contains("--data.path"),
            "{lost}"
        );
        let mut arguments = vec!["train", "--resume", run, "--no-baselines"];
        arguments.extend(given);
        text(&sandbox, &arguments);
        assert_eq!(Trace::read(&sandbox.path(run), 8).unwrap(), whole, "{run}");
        // From now on that is where it is looked for.
        text(&sandbox, &["train", "--resume", run, "--no-baselines"]);
        text(&sandbox, &["eval", run]);
        fs::rename(&elsewhere, &at).unwrap();
    }
    // Other text is another run, wherever it lies.
    text(&sandbox, &Sandbox::train("simple_norm", "e", &half));
    let items = sandbox.path("text/train/items.jsonl");
    let other = fs::read_to_string(&items)
        .unwrap()
        .replacen("Item 7 ", "Item 8 ", 1);
    fs::write(&items, other).unwrap();
    let refused = said(&sandbox, &["train", "--resume", "e", "--no-baselines"], 2);
    assert!(refused.contains("corpus"), "{refused}");
}

#[test]
fn the_tokenizer_may_move_too() {
    let (_folder, sandbox) = sandbox();
    let tokenizer = sandbox.path("tokenizer.json");
    let words = tokenizer.to_str().unwrap();
    text(
        &sandbox,
        &[
            "tokenizer",
            "train",
            "text/train",
            "--vocab",
            "300",
            "--out",
            words,
        ],
    );
    let train = [
        "--train.steps",
        "6",
        "--train.stop_after",
        "3",
        "--data.tokenizer",
        words,
    ];
    text(&sandbox, &Sandbox::train("angpt", "run", &train));
    let moved = sandbox.path("moved.json");
    fs::rename(&tokenizer, &moved).unwrap();
    let moved = moved.to_str().unwrap();
    text(
        &sandbox,
        &[
            "train",
            "--resume",
            "run",
            "--no-baselines",
            "--data.tokenizer",
            moved,
        ],
    );
    // Another one is another run.
    text(
        &sandbox,
        &[
            "tokenizer",
            "train",
            "text/train",
            "--vocab",
            "290",
            "--out",
            words,
        ],
    );
    let other = [
        "train",
        "--resume",
        "run",
        "--train.steps",
        "6",
        "--data.tokenizer",
        words,
    ];
    let refused = said(&sandbox, &other, 2);
    assert!(refused.contains("corpus"), "{refused}");
}

#[test]
fn a_single_text_trains_and_evaluates() {
    let (_folder, sandbox) = sandbox();
    let sentence = |n: usize| {
        format!(
            "Sentence {n} of a single text has {} letters.\n",
            n * n % 97
        )
    };
    let input: String = (0..1500).map(sentence).collect();
    fs::write(sandbox.path("input.txt"), input).unwrap();
    for (run, path) in [
        ("file", "input.txt"),
        ("glob", "inp*.txt"),
        ("list", "[\"input.txt\"]"),
    ] {
        let arguments = [
            "train",
            "--config",
            "tiny.toml",
            "--data.path",
            path,
            "--train.steps",
            "4",
            "--run-dir",
            run,
        ];
        let output = sandbox.run(&arguments).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(
            stderr.contains("the end of the text is held out"),
            "{stderr}"
        );
        let scores = text(&sandbox, &["eval", run, "--json", "--baselines"]);
        let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
        let tokens = scores["models"]["model"]["tokens"].as_u64().unwrap();
        // At least a batch of two samples of 32 tokens.
        assert!(tokens >= 64, "{tokens}");
    }
    // Nothing is held out where nothing shall be, and a run needs something to be evaluated on.
    let none = [
        "train",
        "--config",
        "tiny.toml",
        "--data.path",
        "input.txt",
        "--data.validation_fraction",
        "0",
    ];
    let refused = said(&sandbox, &none, 2);
    assert!(refused.contains("data.validation_path"), "{refused}");
}

/// A checkpoint of the first format knows its data by the names of its files, and its settings by a hash.
#[test]
fn a_run_of_the_first_format_goes_on() {
    let (_folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("pre_norm", "whole", &["--train.steps", "6"]),
    );
    let whole = Trace::read(&sandbox.path("whole"), 6).unwrap();
    text(
        &sandbox,
        &Sandbox::train(
            "pre_norm",
            "run",
            &["--train.steps", "6", "--train.stop_after", "4"],
        ),
    );
    let manifest = fs::read_dir(sandbox.path("cache"))
        .unwrap()
        .map(|e| e.unwrap().path().join("manifest.json"))
        .find(|path| path.is_file())
        .unwrap();
    let manifest: evenburn::data::Manifest =
        serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let checkpoint = sandbox.path("run/checkpoints/step-00000004");
    let rewrite = |corpus: String| {
        let path = checkpoint.join("state.json");
        let mut state: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        state["format"] = 1.into();
        state["config"] = "of another time".into();
        state["corpus"] = corpus.into();
        fs::write(&path, state.to_string()).unwrap();
        let sums: String = ["model.safetensors", "optim.safetensors", "state.json"]
            .map(|name| {
                let hash = blake3::hash(&fs::read(checkpoint.join(name)).unwrap());
                format!("{}  {name}\n", hash.to_hex())
            })
            .concat();
        fs::write(checkpoint.join("checksums.b3"), sums).unwrap();
    };
    rewrite("0".repeat(64));
    let refused = said(&sandbox, &["train", "--resume", "run", "--no-baselines"], 2);
    assert!(refused.contains("corpus"), "{refused}");
    rewrite(manifest.first_fingerprint());
    text(&sandbox, &["train", "--resume", "run", "--no-baselines"]);
    assert_eq!(Trace::read(&sandbox.path("run"), 6).unwrap(), whole);
}

/// Names count below the fixed part of a glob, however that is written.
#[test]
fn a_glob_may_begin_with_a_dot() {
    let (_folder, sandbox) = sandbox();
    let line = |text: &str| format!("{}\n", serde_json::json!({ "text": text }));
    for folder in ["corpus-train", "val", "test/deep"] {
        let folder = sandbox.path(folder);
        fs::create_dir_all(&folder).unwrap();
        let text: String = (0..40)
            .map(|n| line(&format!("Text {n} of a part.")))
            .collect();
        fs::write(folder.join("part.jsonl"), text).unwrap();
        fs::write(folder.join("valid.jsonl"), line("Held out.")).unwrap();
    }
    let read = |path: &str| {
        let look = [
            "--data.tokenizer_vocab",
            "280",
            "--model.context",
            "16",
            "--documents",
            "0",
            "--samples",
            "0",
        ];
        let shown = text(
            &sandbox,
            &[&["data", "inspect", "--data.path", path][..], &look].concat(),
        );
        let reading = shown
            .lines()
            .take_while(|line| !line.starts_with("tokenizer"));
        reading.map(str::to_owned).collect::<Vec<_>>()
    };
    for plain in [
        "corpus-train/*.jsonl",
        "val/*.jsonl",
        "test/deep/*",
        "test/*/*.jsonl",
    ] {
        let expected = read(plain);
        assert!(
            expected
                .iter()
                .any(|line| line.contains("(part.jsonl)") || line.contains("(deep/part.jsonl)")),
            "{expected:?}"
        );
        assert!(
            expected
                .iter()
                .any(|line| line.starts_with("validation: 1 document")),
            "{expected:?}"
        );
        for dotted in [
            format!("./{plain}"),
            format!("././{plain}"),
            format!("{}/{plain}", sandbox.folder().display()),
        ] {
            assert_eq!(read(&dotted), expected, "{dotted}");
        }
    }
}
