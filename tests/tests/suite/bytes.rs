//! Arguments, paths and an environment that are no UTF-8.

use crate::program::{refusal, sandbox};
use evenburn_tests::cli::Sandbox;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;

/// The program with words of which `@` is a byte that no UTF-8 has.
fn run(sandbox: &Sandbox, words: &[&str]) -> Output {
    sandbox
        .command(&[])
        .args(words.iter().map(os))
        .output()
        .unwrap()
}

fn os(word: impl AsRef<str>) -> OsString {
    let byte = |b| if b == b'@' { 0xff } else { b };
    OsString::from_vec(word.as_ref().bytes().map(byte).collect())
}

fn good(sandbox: &Sandbox, words: &[&str]) -> Output {
    let output = run(sandbox, words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}\n{stderr}");
    output
}

#[test]
fn values_that_are_no_text_are_refused_in_words() {
    let (_folder, sandbox) = sandbox();
    fs::copy(
        sandbox.path("text/train/items.jsonl"),
        sandbox.path("text").join(os("@.jsonl")),
    )
    .unwrap();
    good(
        &sandbox,
        &[
            "tokenizer",
            "train",
            "text",
            "--vocab",
            "300",
            "--out",
            "@.json",
        ],
    );
    let lines: [&[&str]; 11] = [
        &["config", "print", "--data.path", "@"],
        &["config", "print", "--data.path=@"],
        &["config", "print", "--data.@", "x"],
        &["train", "--train.prompt", "a @"],
        &["sample", "run", "--prompt", "@"],
        &["sample", "run", "--data.eod_token=@"],
        &["sample", "run", "--device", "@"],
        &["data", "ids", "--tokenizer", "@.json", "text/@.jsonl"],
        &["tokenizer", "train", "text/@.jsonl", "--out", "t.json"],
        &["@"],
        &["train", "--@"],
    ];
    for line in lines {
        let stderr = refusal(&run(&sandbox, line));
        assert!(stderr.len() > 20, "{line:?}: {stderr}");
    }
    // The folder of such a file can be named.
    good(&sandbox, &["data", "ids", "--tokenizer", "@.json", "text"]);
}

#[test]
fn paths_are_any_bytes() {
    let (_folder, sandbox) = sandbox();
    fs::rename(
        sandbox.path("tiny.toml"),
        sandbox.folder().join(os("t@.toml")),
    )
    .unwrap();
    let start = [
        "train",
        "--config",
        "t@.toml",
        "--data.path",
        "text",
        "--run-dir",
        "r@n",
    ];
    good(
        &sandbox,
        &[
            &start[..],
            &["--train.steps", "4", "--train.stop_after", "2"],
        ]
        .concat(),
    );
    good(&sandbox, &["cooldown", "r@n", "--steps", "2"]);
    good(&sandbox, &["train", "--resume", "r@n"]);
    good(&sandbox, &["eval", "r@n", "--tokens", "64"]);
    good(&sandbox, &["sample", "r@n", "--tokens", "2"]);
    good(&sandbox, &["describe", "r@n"]);
    good(&sandbox, &["describe", "r@n/checkpoints/step-00000004"]);
    good(&sandbox, &["config", "print", "--config", "r@n"]);
    good(&sandbox, &["fold", "r@n"]);
    good(&sandbox, &["fold", "r@n", "--out", "f@lded"]);
    good(&sandbox, &["eval", "f@lded", "--tokens", "64"]);
    good(&sandbox, &["export", "r@n", "e@ported"]);
    let peer = sandbox.folder().join(os("p@er"));
    fs::create_dir(&peer).unwrap();
    for file in ["config.json", "model.safetensors"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peers/llama");
        fs::copy(from.join(file), peer.join(file)).unwrap();
    }
    good(&sandbox, &["import", "p@er", "--out", "i@ported"]);
    good(&sandbox, &["describe", "i@ported"]);
}

#[test]
fn the_environment_is_any_bytes() {
    let (_folder, sandbox) = sandbox();
    let lines = Sandbox::train("pre_norm", "run", &["--train.steps", "1"]);
    let mut command = sandbox.command(&lines);
    command.arg0(os("even@burn"));
    for name in [
        "EVENBURN_CACHE",
        "HOME",
        "XDG_CACHE_HOME",
        "TERM",
        "LANG",
        "RAYON_NUM_THREADS",
        "RUST_LOG",
        "RUST_BACKTRACE",
    ] {
        command.env(name, sandbox.folder().join(os("a@")));
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let output = sandbox
        .command(&["config", "keys"])
        .env("EVENBURN_KERNELS", OsStr::from_bytes(b"\xff"))
        .output();
    refusal(&output.unwrap());
}
