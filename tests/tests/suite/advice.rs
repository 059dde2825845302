//! What errors advise can be done, and each command says which keys it takes.

use crate::program::{refusal, sandbox, text};
use evenburn_tests::cli::Sandbox;
use std::fs;

/// A command that is refused, a part of its error, and the words that do what it advises.
type Case<'a> = (&'a str, &'a str, &'a str);

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Each command is refused with the advice, and succeeds with the advice followed.
fn all_can_be_followed(sandbox: &Sandbox, cases: &[Case<'_>]) {
    for (line, advice, followed) in cases {
        let (mut line, followed) = (words(line), words(followed));
        let stderr = refusal(&sandbox.run(&line).unwrap());
        assert!(stderr.contains(advice), "{line:?}: {stderr}");
        // What is said again is said anew.
        if let Some(at) = line.iter().position(|word| *word == followed[0]) {
            line.drain(at..at + 2);
        }
        text(sandbox, &[line, followed].concat());
    }
}

/// Text whose field has another name, and tokenizers that end a document differently.
fn others() -> (tempfile::TempDir, Sandbox) {
    let (folder, sandbox) = sandbox();
    let line = |n| format!("{{\"content\": \"Item {n} weighs {n} grams and has {n} parts.\"}}\n");
    let lines: String = (0..600).map(line).collect();
    fs::write(sandbox.path("code.jsonl"), lines).unwrap();
    let learn = "tokenizer train text --vocab 300 --out ";
    text(&sandbox, &words(&format!("{learn}t.json")));
    let end = format!("{learn}end.json --data.eod_token <end>");
    text(&sandbox, &words(&end));
    (folder, sandbox)
}

#[test]
fn about_data() {
    let (_folder, sandbox) = others();
    let cases = [
        (
            "data ids --tokenizer end.json text/train",
            "data.eod_token",
            "--data.eod_token <end>",
        ),
        (
            "data ids --tokenizer t.json code.jsonl",
            "data.text_field",
            "--data.text_field content",
        ),
        (
            "tokenizer train code.jsonl --vocab 300 --out code.json",
            "data.text_field",
            "--data.text_field content",
        ),
        (
            "tokenizer train text --out small.json --vocab 12",
            "data.tokenizer_vocab",
            "--vocab 300",
        ),
        (
            "tokenizer train text --out less.json --data.tokenizer_vocab 12",
            "data.tokenizer_vocab",
            "--data.tokenizer_vocab 300",
        ),
        (
            "data inspect --data.path code.jsonl",
            "data.text_field",
            "--data.text_field content",
        ),
        (
            "data inspect --data.path text --data.tokenizer end.json",
            "data.eod_token",
            "--data.eod_token <end>",
        ),
        ("data inspect", "data.path", "--data.path text"),
        (
            "config print --data.path [ab].txt",
            "[\"[ab].txt\"]",
            "--data.path [\"[ab].txt\"]",
        ),
    ];
    all_can_be_followed(&sandbox, &cases);
}

#[test]
fn about_training() {
    let (_folder, sandbox) = others();
    let cases = [
        (
            "train --config tiny.toml --data.path code.jsonl --run-dir code",
            "data.text_field",
            "--data.text_field content",
        ),
        (
            "train --data.path text --run-dir unbound --train.eval_tokens 64",
            "train.steps",
            "--train.steps 1",
        ),
        (
            "train --config tiny.toml --run-dir empty",
            "data.path",
            "--data.path text",
        ),
        (
            "train --config tiny.toml --data.path text --run-dir small --model.vocab_size 300",
            "model.vocab_size to at least 320",
            "--model.vocab_size 320",
        ),
        (
            "train --config tiny.toml --data.path text --run-dir cuda --train.device cuda",
            "this one has flex",
            "--train.device flex",
        ),
    ];
    all_can_be_followed(&sandbox, &cases);
}

#[test]
fn about_a_trained_run() {
    let (_folder, sandbox) = others();
    for run in ["run", "other"] {
        text(
            &sandbox,
            &Sandbox::train("pre_norm", run, &["--train.steps", "2"]),
        );
    }
    // A model whose texts end with something else than its configuration says.
    let file = sandbox.path("other/config.toml");
    let config = fs::read_to_string(&file).unwrap();
    assert!(config.contains("<|endoftext|>"));
    fs::write(&file, config.replace("<|endoftext|>", "<none>")).unwrap();
    let cases = [
        (
            "eval run --data.path code.jsonl",
            "data.text_field",
            "--data.text_field content",
        ),
        (
            "eval other",
            "data.eod_token",
            "--data.eod_token <|endoftext|>",
        ),
        (
            "sample other --tokens 2",
            "data.eod_token",
            "--data.eod_token <|endoftext|>",
        ),
        (
            "export other exported",
            "data.eod_token",
            "--data.eod_token <|endoftext|>",
        ),
        (
            "sample run --train.device cuda",
            "this one has flex",
            "--train.device flex",
        ),
        (
            "eval run --device rocm",
            "this one has flex",
            "--device flex",
        ),
    ];
    all_can_be_followed(&sandbox, &cases);
    text(
        &sandbox,
        &words("fold other --data.eod_token <|endoftext|>"),
    );
    text(
        &sandbox,
        &words("sample other/folded/step-00000002 --tokens 2"),
    );
}

#[test]
fn commands_name_the_keys_they_take() {
    let (_folder, sandbox) = sandbox();
    let cases = [
        ("sample run --model.dim 1", "--data.eod_token"),
        ("sample run --optim.lr 1", "--train.device"),
        ("fold run --data.text_field x", "--data.eod_token"),
        ("export run out --train.steps 1", "--data.eod_token"),
        ("import dir --model.dim 1", "--data.eod_token"),
        ("eval run --data.tokenizer x", "--data.path"),
        ("eval run --data.pth x", "did you mean `data.path`"),
        (
            "data ids --tokenizer t text --data.path x",
            "--data.text_field",
        ),
        (
            "tokenizer train text --out t --data.path x",
            "--data.text_field",
        ),
        (
            "cooldown run --steps 3 --optim.lr 1",
            "no configuration keys",
        ),
        ("config keys --optim.lr 1", "no configuration keys"),
        (
            "sample run --device flex --train.device flex",
            "--device and --train.device",
        ),
        (
            "tokenizer train text --out t --vocab 300 --data.tokenizer_vocab 300",
            "--vocab and",
        ),
    ];
    for (line, part) in cases {
        let stderr = refusal(&sandbox.run(&words(line)).unwrap());
        assert!(stderr.contains(part), "{line}: no `{part}` in {stderr}");
    }
}
