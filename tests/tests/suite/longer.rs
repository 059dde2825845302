//! A run that is given a longer budget, a branch of one, and what would change the past.

use crate::program::{sandbox, text};
use evenburn_tests::cli::{Sandbox, Trace, contents};
use std::path::Path;

/// Runs the program, expects exit code 2, and returns its error.
fn refused(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox.run(arguments).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}\n{stderr}");
    stderr
}

/// Trains a run with a schedule for so many steps.
fn train(sandbox: &Sandbox, run: &str, schedule: &[&str], steps: &str) {
    let more = [schedule, &["--train.steps", steps]].concat();
    text(sandbox, &Sandbox::train("pre_norm", run, &more));
}

fn trace(sandbox: &Sandbox, run: &str, steps: u64) -> Trace {
    let trace = Trace::read(&sandbox.path(run), steps).unwrap();
    assert_eq!(trace.metrics.len() as u64, steps);
    trace
}

fn rates(run: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rate = |line: &str| {
        let fields: serde_json::Value = serde_json::from_str(line).unwrap();
        fields["train/lr"].as_f64().unwrap()
    };
    text.lines().map(rate).collect()
}

#[test]
fn a_finished_run_made_longer_equals_one_that_was_that_long_from_the_start() {
    let fixed = ["--optim.warmup_steps", "3"];
    let schedules: [&[&str]; 4] = [
        &["--optim.schedule", "constant"],
        &["--optim.schedule", "inverse_sqrt"],
        // Without a decay; then with a warm-up that isn't over.
        &["--optim.schedule", "wsd", "--optim.decay_fraction", "0"],
        &["--optim.schedule", "cosine", "--optim.warmup_steps", "9"],
    ];
    for schedule in schedules {
        let (_folder, sandbox) = sandbox();
        let schedule = [&fixed, schedule].concat();
        train(&sandbox, "straight", &schedule, "20");
        train(&sandbox, "run", &schedule, "10");
        // One stop on the way: a plain resume knows the new budget.
        let more = ["--train.steps", "20", "--train.stop_after", "13"];
        let resumed = [&["train", "--resume", "run"], &more[..]].concat();
        text(&sandbox, &resumed);
        let config = std::fs::read_to_string(sandbox.path("run/config.toml")).unwrap();
        assert!(config.contains("steps = 20"), "{config}");
        let said = text(&sandbox, &["train", "--resume", "run"]);
        assert!(said.contains("finished after step 20 of 20"), "{said}");
        let (run, straight) = (trace(&sandbox, "run", 20), trace(&sandbox, "straight", 20));
        assert!(run == straight, "{schedule:?}");
        // The configuration of the first ten steps is still there.
        let before = sandbox.path("run/config-until-00000010.toml");
        let before = std::fs::read_to_string(before).unwrap();
        assert!(before.contains("steps = 10"), "{before}");
    }
}

#[test]
fn a_warmup_that_was_a_part_of_the_run_stays_as_long_as_it_was() {
    let (_folder, sandbox) = sandbox();
    let part = [
        "--optim.schedule",
        "constant",
        "--optim.warmup_fraction",
        "0.3",
    ];
    let steps = ["--optim.schedule", "constant", "--optim.warmup_steps", "3"];
    train(&sandbox, "straight", &steps, "20");
    train(&sandbox, "run", &part, "10");
    // 640 tokens are five steps, 2560 twenty.
    let longer = ["train", "--resume", "run", "--train.tokens", "2560"];
    let output = sandbox.run(&longer).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("optim.warmup_steps = 3 (was unset)"),
        "{said}"
    );
    assert!(trace(&sandbox, "run", 20) == trace(&sandbox, "straight", 20));
    let message = refused(
        &sandbox,
        &["train", "--resume", "run", "--train.tokens", "640"],
    );
    for part in ["train.tokens", "has taken 20 steps", "ends after 5"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn wsd_goes_on_from_before_its_decay_in_a_run_of_its_own() {
    let (_folder, sandbox) = sandbox();
    let wsd = ["--optim.schedule", "wsd", "--optim.warmup_steps", "2"];
    train(&sandbox, "straight", &wsd, "20");
    train(&sandbox, "run", &wsd, "10");
    let before = contents(&sandbox.path("run"));
    let message = refused(
        &sandbox,
        &["train", "--resume", "run", "--train.steps", "20"],
    );
    // Steps 9 and 10 are the last fifth; the ninth still has the full rate.
    for part in [
        "train.steps was 10 and is now 20",
        "step 10 of the 10",
        "--resume run/checkpoints/step-00000008",
    ] {
        assert!(message.contains(part), "no `{part}` in {message}");
    }
    // What the message advises.
    let advised = ["train", "--resume", "run/checkpoints/step-00000008"];
    let longer = [&advised[..], &["--train.steps", "20"]].concat();
    let branch = |more: &[&str]| text(&sandbox, &[&longer[..], more].concat());
    branch(&["--run-dir", "branch"]);
    assert!(trace(&sandbox, "branch", 20) == trace(&sandbox, "straight", 20));
    assert_eq!(
        contents(&sandbox.path("run")),
        before,
        "the first run stays as it was"
    );
    let provenance = std::fs::read_to_string(sandbox.path("branch/provenance.json")).unwrap();
    assert!(
        provenance.contains("run/checkpoints/step-00000008"),
        "{provenance}"
    );

    // A branch that was stopped at once goes on like any run, and a place that is taken is left alone.
    branch(&["--run-dir", "stopped", "--train.stop_after", "8"]);
    text(&sandbox, &["train", "--resume", "stopped"]);
    assert!(trace(&sandbox, "stopped", 20) == trace(&sandbox, "straight", 20));
    let taken = [&longer[..], &["--run-dir", "stopped"]].concat();
    assert!(refused(&sandbox, &taken).contains("already exists"));
    // The newest checkpoint is the run itself.
    let newest = ["train", "--resume", "stopped/checkpoints/latest"];
    text(&sandbox, &newest);
    // Other settings are refused for a branch as for a run.
    let other = [&longer[..], &["--train.seed", "7", "--run-dir", "other"]].concat();
    assert!(refused(&sandbox, &other).contains("train.seed"));
    assert!(!sandbox.path("other").exists());
}

#[test]
fn a_rate_that_falls_from_the_start_goes_on_with_a_fresh_optimizer_alone() {
    for schedule in ["cosine", "linear"] {
        let (_folder, sandbox) = sandbox();
        let schedule = ["--optim.schedule", schedule];
        for run in ["once", "twice"] {
            train(&sandbox, run, &schedule, "10");
        }
        let longer = |run| ["train", "--resume", run, "--train.steps", "20"];
        let message = refused(&sandbox, &longer("once"));
        for part in [
            "no checkpoint from before that is left",
            "--train.reset_optimizer true",
        ] {
            assert!(message.contains(part), "no `{part}` in {message}");
        }
        let reset = ["--train.reset_optimizer", "true"];
        text(&sandbox, &[&longer("once")[..], &reset].concat());
        assert!(rates(&sandbox.path("once"))[10] > rates(&sandbox.path("once"))[9]);
        // Stopped before the first step under the new budget, the run still knows that its optimizer begins afresh.
        let stop = ["--train.stop_after", "10"];
        text(&sandbox, &[&longer("twice")[..], &reset, &stop].concat());
        text(&sandbox, &["train", "--resume", "twice"]);
        assert!(trace(&sandbox, "once", 20) == trace(&sandbox, "twice", 20));
    }
}

#[test]
fn a_budget_that_is_over_already_is_refused() {
    let (_folder, sandbox) = sandbox();
    train(&sandbox, "run", &["--optim.schedule", "constant"], "10");
    let shorter = ["train", "--resume", "run", "--train.steps", "7"];
    let message = refused(&sandbox, &shorter);
    for part in [
        "train.steps",
        "has taken 10 steps",
        "ends after 7",
        "step-00000006",
    ] {
        assert!(message.contains(part), "no `{part}` in {message}");
    }
    // With a fresh optimizer too.
    let reset = [&shorter[..], &["--train.reset_optimizer", "true"]].concat();
    assert!(refused(&sandbox, &reset).contains("has taken 10 steps"));
    let advised = ["train", "--resume", "run/checkpoints/step-00000006"];
    text(
        &sandbox,
        &[&advised[..], &["--train.steps", "7", "--run-dir", "short"]].concat(),
    );
    trace(&sandbox, "short", 7);
}

#[test]
fn a_decay_started_by_hand_begins_at_a_rate_there_is() {
    let (_folder, sandbox) = sandbox();
    train(&sandbox, "run", &[], "10");
    let message = refused(&sandbox, &["cooldown", "run", "--steps", "4"]);
    assert!(!sandbox.path("run/cooldown.json").exists());
    // Of the three checkpoints that are left, the one from the highest rate.
    let checkpoint = "run/checkpoints/step-00000006";
    let advised = format!("train --resume {checkpoint} --run-dir NEW --train.stop_after 6");
    assert!(message.contains(&advised), "no `{advised}` in {message}");
    let advised = [
        "train",
        "--resume",
        checkpoint,
        "--run-dir",
        "new",
        "--train.stop_after",
        "6",
    ];
    text(&sandbox, &advised);
    text(&sandbox, &["cooldown", "new", "--steps", "4"]);
    text(&sandbox, &["train", "--resume", "new"]);
    let (run, new) = (rates(&sandbox.path("run")), rates(&sandbox.path("new")));
    assert_eq!(new.len(), 10);
    assert_eq!(new[..=6], run[..=6], "it begins where the schedule is");
    assert!(new[7] < new[6] && new[9] > 0.0, "{new:?}");
    // The end of a decay is the end of the run, whatever its budget.
    let longer = [
        "train",
        "--resume",
        "new",
        "--train.steps",
        "30",
        "--train.reset_optimizer",
        "true",
    ];
    let message = refused(&sandbox, &longer);
    assert!(message.contains("decays since step 6"), "{message}");
}
