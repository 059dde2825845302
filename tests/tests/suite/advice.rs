//! What errors advise can be done, and each command says which keys it takes.

use crate::program::{refusal, sandbox, text};
use evenburn_tests::cli::Sandbox;
use std::fs;

/// Each command that was refused with advice succeeds with the advice followed.
#[test]
fn advice_can_be_followed() {
    let (_folder, sandbox) = sandbox();
    text(
        &sandbox,
        &Sandbox::train("pre_norm", "run", &["--train.steps", "2"]),
    );
    let learn = ["tokenizer", "train", "text", "--vocab", "300", "--out"];
    text(&sandbox, &[&learn[..], &["t.json"]].concat());
    let end = ["--data.eod_token", "<end>"];
    text(&sandbox, &[&learn[..], &["end.json"], &end[..]].concat());
    let line = |n| format!("{{\"content\": \"Item {n} weighs {n} grams and has {n} parts.\"}}\n");
    fs::write(
        sandbox.path("code.jsonl"),
        (0..600).map(line).collect::<String>(),
    )
    .unwrap();
    // A model whose tokens end with something else than its configuration says.
    let config = fs::read_to_string(sandbox.path("run/config.toml")).unwrap();
    let other = config.replace("<|endoftext|>", "<none>");
    assert_ne!(other, config);
    let again = Sandbox::train("pre_norm", "other", &["--train.steps", "2"]);
    text(&sandbox, &again);
    fs::write(sandbox.path("other/config.toml"), other).unwrap();

    let of_code = [
        "train",
        "--config",
        "tiny.toml",
        "--data.path",
        "code.jsonl",
    ];
    let field: &[&str] = &["--data.text_field", "content"];
    let ending: &[&str] = &["--data.eod_token", "<|endoftext|>"];
    /// A command, what its error advises, and the words that follow the advice.
    type Case<'a> = (Vec<&'a str>, &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 16] = [
        (
            vec!["data", "ids", "--tokenizer", "end.json", "text/train"],
            "data.eod_token",
            &end,
        ),
        (
            vec!["data", "ids", "--tokenizer", "t.json", "code.jsonl"],
            "data.text_field",
            field,
        ),
        (
            vec![
                "tokenizer",
                "train",
                "code.jsonl",
                "--vocab",
                "300",
                "--out",
                "code.json",
            ],
            "data.text_field",
            field,
        ),
        (
            vec!["tokenizer", "train", "text", "--out", "small.json"],
            "data.tokenizer_vocab",
            &["--data.tokenizer_vocab", "300"],
        ),
        (
            vec!["data", "inspect", "--data.path", "code.jsonl"],
            "data.text_field",
            field,
        ),
        (
            vec![
                "data",
                "inspect",
                "--data.path",
                "text",
                "--data.tokenizer",
                "end.json",
            ],
            "data.eod_token",
            &end,
        ),
        (
            vec!["eval", "run", "--data.path", "code.jsonl"],
            "data.text_field",
            field,
        ),
        (vec!["eval", "other"], "data.eod_token", ending),
        (
            vec!["sample", "other", "--tokens", "2"],
            "data.eod_token",
            ending,
        ),
        (
            vec!["export", "other", "exported"],
            "data.eod_token",
            ending,
        ),
        (
            [&of_code[..], &["--run-dir", "code"]].concat(),
            "data.text_field",
            field,
        ),
        (
            vec![
                "train",
                "--data.path",
                "text",
                "--run-dir",
                "unbound",
                "--train.sample_tokens",
                "0",
            ],
            "train.steps",
            &["--train.steps", "1", "--train.eval_tokens", "64"],
        ),
        (
            vec!["train", "--config", "tiny.toml", "--run-dir", "empty"],
            "data.path",
            &["--data.path", "text"],
        ),
        (
            [
                &of_code[..4],
                &["text", "--run-dir", "small", "--model.vocab_size", "300"],
            ]
            .concat(),
            "model.vocab_size to at least 320",
            &["--model.vocab_size", "320"],
        ),
        (
            [
                &of_code[..4],
                &["text", "--run-dir", "cuda", "--train.device", "cuda"],
            ]
            .concat(),
            "this one has flex",
            &["--train.device", "flex"],
        ),
        (
            vec!["config", "print", "--data.path", "[ab].txt"],
            "[\"[ab].txt\"]",
            &["--data.path", "[\"[ab].txt\"]"],
        ),
    ];
    for (line, advice, followed) in cases {
        // A tokenizer of one's own size is refused only where it is too small.
        let wrong: &[&str] = match advice {
            "data.tokenizer_vocab" => &["--vocab", "12"],
            _ => &[],
        };
        let stderr = refusal(&sandbox.run(&[&line[..], wrong].concat()).unwrap());
        assert!(stderr.contains(advice), "{line:?}: {stderr}");
        // A word that is followed by another value of the same key gives way to it.
        let mut kept = line.clone();
        if let Some(at) = kept.iter().position(|word| *word == followed[0]) {
            kept.drain(at..at + 2);
        }
        text(&sandbox, &[&kept[..], followed].concat());
    }
    text(
        &sandbox,
        &["fold", "other", "--data.eod_token", "<|endoftext|>"],
    );
    text(
        &sandbox,
        &["sample", "other/folded/step-00000002", "--tokens", "2"],
    );
}

#[test]
fn commands_name_the_keys_they_take() {
    let (_folder, sandbox) = sandbox();
    let cases: [(&[&str], &str, &[&str]); 9] = [
        (
            &["sample", "run"],
            "model.dim",
            &["--data.eod_token", "--train.device"],
        ),
        (&["fold", "run"], "data.text_field", &["--data.eod_token"]),
        (
            &["export", "run", "out"],
            "train.steps",
            &["--data.eod_token"],
        ),
        (&["import", "dir"], "model.dim", &["--data.eod_token"]),
        (
            &["eval", "run"],
            "data.tokenizer",
            &["--data.path", "--train.device"],
        ),
        (&["eval", "run"], "data.pth", &["did you mean `data.path`"]),
        (
            &["data", "ids", "--tokenizer", "t", "text"],
            "data.path",
            &["--data.text_field"],
        ),
        (
            &["tokenizer", "train", "text", "--out", "t"],
            "data.path",
            &["--data.text_field"],
        ),
        (
            &["cooldown", "run", "--steps", "3"],
            "optim.lr",
            &["no configuration keys"],
        ),
    ];
    for (line, key, parts) in cases {
        let option = format!("--{key}");
        let line = [line, &[&option, "1"]].concat();
        let stderr = refusal(&sandbox.run(&line).unwrap());
        assert!(stderr.contains(key), "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "{line:?}: no `{part}` in {stderr}");
        }
    }
    for (option, key, line) in [
        ("--device", "--train.device", ["sample", "run"]),
        ("--device", "--train.device", ["eval", "run"]),
    ] {
        let line = [&line[..], &[option, "flex", key, "flex"]].concat();
        let stderr = refusal(&sandbox.run(&line).unwrap());
        assert!(stderr.contains(option) && stderr.contains(key), "{stderr}");
    }
}
