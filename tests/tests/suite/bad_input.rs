//! Wrong input: one clear error that names the place, exit code 2, nothing overwritten, no panic.

use crate::program::{refusal, sandbox, text};
use evenburn_tests::cli::{Sandbox, contents};

/// Runs the program, expects exit code 2, and each of `parts` in its one error.
fn refused(sandbox: &Sandbox, arguments: &[&str], parts: &[&str]) {
    let stderr = refusal(&sandbox.run(arguments).unwrap());
    for part in parts {
        assert!(
            stderr.contains(part),
            "{arguments:?}: no `{part}` in: {stderr}"
        );
    }
}

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    Sandbox::train("pre_norm", "run", more)
}

#[test]
fn mistyped_keys_name_place_and_neighbour() {
    let (_folder, sandbox) = sandbox();
    refused(
        &sandbox,
        &train(&["--train.stps", "3"]),
        &["train.stps", "train.steps", "command line"],
    );
    refused(
        &sandbox,
        &train(&["--optim.lr", "fast"]),
        &["optim.lr", "fast"],
    );
    refused(&sandbox, &train(&["--norm.qkk", "head"]), &["norm.qkk"]);
    refused(&sandbox, &train(&["--train.steps"]), &["--train.steps"]);
    let file = sandbox.path("tiny.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("batch_size", "batchsize")).unwrap();
    refused(
        &sandbox,
        &train(&[]),
        &["tiny.toml:18", "train.batchsize", "train.batch_size"],
    );
    std::fs::write(&file, "[model\n").unwrap();
    refused(&sandbox, &train(&[]), &["tiny.toml:1"]);
    assert!(!sandbox.path("run").exists());
}

#[test]
fn missing_files_are_named() {
    let (_folder, sandbox) = sandbox();
    refused(
        &sandbox,
        &["train", "--config", "none.toml"],
        &["none.toml"],
    );
    refused(&sandbox, &train(&["--data.path", "nowhere"]), &["nowhere"]);
    refused(
        &sandbox,
        &train(&["--data.path", "text/*.parquet"]),
        &["text/*.parquet"],
    );
    refused(
        &sandbox,
        &train(&["--data.tokenizer", "none.json"]),
        &["none.json"],
    );
    std::fs::write(sandbox.path("bytes"), b"\xff\xfe").unwrap();
    for tokenizer in ["text", "bytes", "tiny.toml", "tiny.toml/x"] {
        let ids = ["data", "ids", "--tokenizer", tokenizer, "text"];
        refused(&sandbox, &ids, &[tokenizer]);
        let key = ["--data.tokenizer", tokenizer];
        refused(&sandbox, &train(&key), &[tokenizer]);
    }
    refused(&sandbox, &["describe", "tiny.toml/x"], &["tiny.toml/x"]);
    refused(&sandbox, &["describe", "bytes"], &["bytes:1"]);
    refused(&sandbox, &["sample", "nowhere"], &["nowhere"]);
    refused(&sandbox, &["train", "--resume", "nowhere"], &["nowhere"]);
}

#[test]
fn broken_text_names_file_and_line() {
    let (_folder, sandbox) = sandbox();
    let broken = sandbox.path("text/train/broken.jsonl");
    std::fs::write(&broken, "{\"text\": \"fine\"}\n{\"text\": \"not").unwrap();
    refused(&sandbox, &train(&[]), &["broken.jsonl", "2"]);
    std::fs::write(&broken, "{\"text\": \"fine\"}\n{\"body\": \"no text\"}\n").unwrap();
    refused(&sandbox, &train(&[]), &["broken.jsonl", "2", "text"]);
    std::fs::remove_file(&broken).unwrap();
    let frame = sandbox.path("text/train/broken.jsonl.zst");
    std::fs::write(&frame, b"\x28\xb5\x2f\xfd\x04\x00garbage that is no frame").unwrap();
    refused(&sandbox, &train(&[]), &["broken.jsonl.zst"]);
}

#[test]
fn sizes_that_do_not_fit_name_their_key() {
    let (_folder, sandbox) = sandbox();
    refused(
        &sandbox,
        &train(&["--model.dim", "33"]),
        &["model.dim", "33"],
    );
    refused(
        &sandbox,
        &train(&["--model.kv_heads", "3"]),
        &["model.kv_heads"],
    );
    refused(
        &sandbox,
        &train(&["--model.rope_fraction", "0.3"]),
        &["model.rope_fraction", "0.3 of model.head_dim = 16"],
    );
    refused(
        &sandbox,
        &train(&["--model.rope_fraction", "0.5", "--model.positions", "none"]),
        &["model.rope_fraction", "model.positions"],
    );
    refused(
        &sandbox,
        &train(&["--model.vocab_size", "300"]),
        &["320", "300"],
    );
    refused(
        &sandbox,
        &train(&["--model.context", "1000000"]),
        &["1000000"],
    );
    refused(
        &sandbox,
        &train(&["--train.tokens", "1000", "--train.steps", "3"]),
        &["train.steps", "train.tokens"],
    );
    refused(&sandbox, &train(&["--train.device", "cuda"]), &["cuda"]);
    assert!(!sandbox.path("run").exists());
}

#[test]
fn foreign_and_damaged_checkpoints_are_refused_and_kept() {
    let (_folder, sandbox) = sandbox();
    text(&sandbox, &train(&["--train.stop_after", "4"]));
    let run = sandbox.path("run");
    let before = contents(&run);

    refused(&sandbox, &train(&[]), &["already exists"]);
    let resume = |more: &[&'static str]| train(&[&["--resume", "run"], more].concat());
    refused(
        &sandbox,
        &resume(&["--model.layers", "3"]),
        &["model.layers", "2", "3"],
    );
    refused(&sandbox, &resume(&["--optim.lr", "0.1"]), &["optim.lr"]);
    assert_eq!(contents(&run), before);

    let model = run.join("checkpoints/step-00000004/model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let damaged = contents(&run);
    refused(&sandbox, &resume(&[]), &["model.safetensors"]);
    refused(&sandbox, &["sample", "run"], &["model.safetensors"]);
    assert_eq!(contents(&run), damaged);
}

#[test]
fn sampling_options_outside_their_range_are_refused() {
    let (_folder, sandbox) = sandbox();
    text(&sandbox, &train(&["--train.steps", "2"]));
    refused(
        &sandbox,
        &["sample", "run", "--temperature", "-1"],
        &["temperature"],
    );
    refused(&sandbox, &["sample", "run", "--top-p", "0"], &["top-p"]);
    refused(
        &sandbox,
        &["eval", "run", "--model.dim", "64"],
        &["model.dim"],
    );
    refused(
        &sandbox,
        &["tokenizer", "train", "text", "--out", "tiny.toml"],
        &["tiny.toml", "already exists"],
    );
}

#[test]
fn numbers_that_leave_nothing_to_do_are_refused() {
    let (_folder, sandbox) = sandbox();
    text(&sandbox, &train(&["--train.steps", "2"]));
    text(
        &sandbox,
        &[
            "tokenizer",
            "train",
            "text",
            "--vocab",
            "300",
            "--out",
            "t.json",
        ],
    );
    let ids = ["data", "ids", "--tokenizer", "t.json", "text/train"];
    let learn = ["tokenizer", "train", "text", "--out", "u.json"];
    let cases: [(&[&str], &str); 6] = [
        (&["eval", "run"], "--tokens"),
        (&["eval", "run", "--json"], "--tokens"),
        (&["sample", "run"], "--tokens"),
        (&["sample", "run"], "--count"),
        (&ids, "--documents"),
        (&["cooldown", "run"], "--steps"),
    ];
    for (command, option) in cases {
        for value in ["0", "-5"] {
            let line = [command, &[option, value]].concat();
            refused(&sandbox, &line, &[option, "at least 1"]);
        }
        for value in ["1e3", "99999999999999999999", "", "many"] {
            refused(&sandbox, &[command, &[option, value]].concat(), &[option]);
        }
    }
    let huge = ["16777217", "9223372036854775807", "99999999999999999999"];
    for value in ["0", "-1", "256", "many"].iter().chain(&huge) {
        let line = [&learn[..], &["--vocab", value]].concat();
        refused(&sandbox, &line, &["data.tokenizer_vocab"]);
    }
    for (option, value) in [
        ("--top-k", "-1"),
        ("--seed", "-1"),
        ("--temperature", "nan"),
        ("--temperature", "inf"),
        ("--top-p", "nan"),
        ("--top-p", "1.5"),
    ] {
        let name = option.trim_start_matches('-');
        refused(&sandbox, &["sample", "run", option, value], &[name]);
    }
    for option in ["--documents", "--samples"] {
        let line = ["data", "inspect", "--data.path", "text", option, "-1"];
        refused(&sandbox, &line, &[option]);
    }
    // Much is no mistake: there is only so much text.
    let all = [&ids[..], &["--documents", "18446744073709551615"]].concat();
    assert_eq!(text(&sandbox, &all).lines().count(), 600);
    let most = "18446744073709551615";
    text(&sandbox, &["eval", "run", "--tokens", most]);
    text(
        &sandbox,
        &["sample", "run", "--top-k", most, "--tokens", "2"],
    );
}

#[test]
fn a_run_in_use_is_locked() {
    let (_folder, sandbox) = sandbox();
    let arguments = train(&["--train.steps", "100000"]);
    let mut first = sandbox
        .command(&arguments)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let run = sandbox.path("run");
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !run.join("metrics.jsonl").exists() {
        assert!(std::time::Instant::now() < deadline && first.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut second = arguments.clone();
    second.extend(["--resume", "run"]);
    refused(&sandbox, &second, &["run", "use"]);
    first.kill().unwrap();
    first.wait().unwrap();
}
