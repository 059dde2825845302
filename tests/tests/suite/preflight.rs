//! What can fail at the end of a run is asked at its start.

use crate::program::{sandbox, text};
use evenburn_tests::cli::{Sandbox, contents};

/// A prompt longer than the context of 32 tokens.
const LONG: &str = "Item 1 has 2 parts, and part 3 weighs 4 grams. Item 5 has 6 parts, and part 7 weighs 8 grams. \
    Item 9 has 10 parts, and part 11 weighs 12 grams. Item 13 has 14 parts, and part 15 weighs 16 grams.";

/// A sandbox whose configuration has learned positions, and says nothing of samples.
fn learned() -> (tempfile::TempDir, Sandbox) {
    let (folder, sandbox) = sandbox();
    let file = sandbox.path("tiny.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let config = config
        .replace("context = 32\n", "context = 32\npositions = \"learned\"\n")
        .replace("sample_tokens = 8\n", "")
        .replace("steps = 40\n", "steps = 4\n");
    std::fs::write(&file, config).unwrap();
    (folder, sandbox)
}

fn train<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    Sandbox::train("pre_norm", run, more)
}

/// Exit code and what was said.
fn said(sandbox: &Sandbox, arguments: &[&str]) -> (Option<i32>, String) {
    let output = sandbox.run(arguments).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stderr)
}

#[test]
fn a_default_is_fitted_with_a_line_and_a_value_that_was_given_is_refused() {
    let (_folder, sandbox) = learned();
    let (code, stderr) = said(&sandbox, &train("run", &["--train.sample_every", "2"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        stderr.matches("31 tokens instead of 64").count(),
        1,
        "{stderr}"
    );
    for file in [
        "samples/step-00000002.txt",
        "samples/step-00000004.txt",
        "checkpoints/step-00000004",
    ] {
        assert!(sandbox.path("run").join(file).exists(), "{file}");
    }

    let config = std::fs::read_to_string(sandbox.path("tiny.toml")).unwrap();
    let given = config.replace("[train]\n", "[train]\nsample_tokens = 64\n");
    std::fs::write(sandbox.path("given.toml"), given).unwrap();
    let from_file = [
        "train",
        "--config",
        "given.toml",
        "--data.path",
        "text",
        "--run-dir",
        "refused",
    ];
    // What is given, and what the error says.
    let cases: [(Vec<&str>, &[&str]); 6] = [
        (
            from_file.to_vec(),
            &["given.toml:", "train.sample_tokens: 64", "at most 31"],
        ),
        (
            train("refused", &["--train.sample_tokens", "32"]),
            &["command line: train.sample_tokens: 32"],
        ),
        (
            train("refused", &["--train.sample_tokens", "64"]),
            &["train.sample_tokens", "32 positions"],
        ),
        (
            train(
                "refused",
                &["--train.sample_tokens", "31", "--train.prompt", "Item"],
            ),
            &["train.sample_tokens", "the prompt takes"],
        ),
        (
            train("refused", &["--train.prompt", LONG]),
            &["train.prompt", "none is left"],
        ),
        (
            train(
                "refused",
                &["--train.prompt", LONG, "--train.sample_every", "1"],
            ),
            &["train.prompt"],
        ),
    ];
    for (arguments, parts) in cases {
        let (code, stderr) = said(&sandbox, &arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        for part in parts {
            assert!(stderr.contains(part), "no `{part}` in {stderr}");
        }
        assert!(!sandbox.path("refused").exists(), "{arguments:?}");
    }
    // Without samples nobody asks, and where positions have no end everything fits.
    text(
        &sandbox,
        &train(
            "silent",
            &["--train.sample_tokens", "0", "--train.prompt", LONG],
        ),
    );
    text(
        &sandbox,
        &train(
            "rope",
            &["--model.positions", "rope", "--train.sample_tokens", "40"],
        ),
    );
}

#[test]
fn a_run_that_has_recorded_too_much_goes_on() {
    let (_folder, sandbox) = learned();
    text(&sandbox, &train("run", &["--train.stop_after", "2"]));
    let file = sandbox.path("run/config.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    assert!(config.contains("sample_tokens = 64"), "{config}");
    let (code, stderr) = said(
        &sandbox,
        &["train", "--resume", "run", "--train.stop_after", "3"],
    );
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("31 tokens instead of 64"), "{stderr}");
    // A launch that asks for it is another matter.
    let asks = ["train", "--resume", "run", "--train.sample_tokens", "64"];
    let (code, stderr) = said(&sandbox, &asks);
    assert_eq!(code, Some(2), "{stderr}");
    std::fs::write(
        &file,
        config.replace("prompt = \"\"", &format!("prompt = {LONG:?}")),
    )
    .unwrap();
    let (code, stderr) = said(&sandbox, &["train", "--resume", "run"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("no samples: train.prompt"), "{stderr}");
    assert!(sandbox.path("run/checkpoints/step-00000004").exists());
}

#[test]
fn places_that_can_not_be_written_are_found_before_a_step() {
    for (place, is_fatal) in [
        ("samples", true),
        ("tb", true),
        ("metrics.jsonl", true),
        ("run.log", false),
    ] {
        let (_folder, sandbox) = sandbox();
        text(&sandbox, &train("run", &["--train.stop_after", "2"]));
        let path = sandbox.path("run").join(place);
        // A file where a folder must be, and the other way around: no user may write that, not even root.
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
            std::fs::write(&path, "").unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
            std::fs::create_dir(&path).unwrap();
        }
        let before = contents(&sandbox.path("run/checkpoints"));
        let arguments = train("run", &["--resume", "run", "--train.stop_after", "4"]);
        let (code, stderr) = said(&sandbox, &arguments);
        assert_eq!(code != Some(0), is_fatal, "{place}: {stderr}");
        assert!(stderr.contains(place), "{stderr}");
        assert_eq!(
            contents(&sandbox.path("run/checkpoints")) == before,
            is_fatal,
            "{place}"
        );
    }
}

#[test]
fn a_vocabulary_far_above_the_tokenizers_is_told_once_and_none_of_it_is_drawn() {
    let (_folder, sandbox) = sandbox();
    let arguments = train("run", &["--model.vocab_size", "4000", "--train.steps", "1"]);
    let (code, stderr) = said(&sandbox, &arguments);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(
        stderr.matches("far above the tokenizer's 320").count(),
        1,
        "{stderr}"
    );
    assert!(stderr.contains("384 would do"), "{stderr}");
    // A model that has hardly trained draws among all 4000 entries, of which text comes of a twelfth.
    for options in [
        ["--temperature", "1", "--top-p", "1", "--top-k", "0"],
        ["--temperature", "2", "--top-p", "0.9", "--top-k", "0"],
        ["--temperature", "1", "--top-p", "1", "--top-k", "4000"],
        ["--temperature", "0", "--top-p", "1", "--top-k", "0"],
    ] {
        let arguments = [&["sample", "run", "--tokens", "60"], &options[..]].concat();
        let written = text(&sandbox, &arguments);
        assert!(
            written.trim_end().chars().count() >= 40,
            "{options:?}: {written}"
        );
    }
    // Padding is no reason for a line.
    let arguments = train(
        "padded",
        &["--model.vocab_size", "384", "--train.steps", "1"],
    );
    let (_, stderr) = said(&sandbox, &arguments);
    assert!(!stderr.contains("far above"), "{stderr}");
}

/// The command that a run advises at its end works, whatever positions its model has.
#[test]
fn a_sample_is_as_long_as_the_positions_allow_unless_somebody_says_how_long() {
    let (_folder, sandbox) = sandbox();
    let train = ["--model.positions", "learned", "--train.steps", "2"];
    text(&sandbox, &Sandbox::train("pre_norm", "run", &train));
    for (more, note) in [
        (&[][..], true),
        (&["--prompt", "Item 7"], true),
        (&["--tokens", "8"], false),
    ] {
        let (code, stderr) = said(&sandbox, &[&["sample", "run"], more].concat());
        assert_eq!(code, Some(0), "{more:?}\n{stderr}");
        assert_eq!(stderr.contains("instead of 128"), note, "{stderr}");
    }
    let (code, stderr) = said(&sandbox, &["sample", "run", "--tokens", "100"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("positions"), "{stderr}");
    // A checkpoint is a run's configuration by every way to it.
    for path in [
        "run",
        "run/checkpoints/latest",
        "run/checkpoints/step-00000002",
    ] {
        text(&sandbox, &["describe", path]);
        text(&sandbox, &["config", "print", "--config", path]);
    }
}
