//! Whatever a run loses beside its weights, and by whatever path it is reached, it is used as before.

use crate::program::{sandbox, text};
use evenburn_tests::cli::{Sandbox, Trace};
use std::fs;
use std::path::Path;

const STEPS: u64 = 8;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// A run that was stopped at step 5 of 8, and the one that wasn't.
fn runs() -> (tempfile::TempDir, Sandbox) {
    let (folder, sandbox) = sandbox();
    let steps = ["--train.steps", "8"];
    text(&sandbox, &Sandbox::train("pre_norm", "straight", &steps));
    let stopped = [&steps[..], &["--train.stop_after", "5"]].concat();
    text(&sandbox, &Sandbox::train("pre_norm", "stopped", &stopped));
    (folder, sandbox)
}

/// Does to a run what can be done to one.
fn use_it(sandbox: &Sandbox, run: &str) {
    let exported = format!("{run}-exported").replace('/', "-");
    text(sandbox, &["eval", run, "--tokens", "64"]);
    text(sandbox, &["sample", run, "--tokens", "4"]);
    text(sandbox, &["export", run, &exported]);
}

#[test]
fn a_run_that_has_lost_what_is_no_weight_goes_on() {
    let (_folder, sandbox) = runs();
    let straight = Trace::read(&sandbox.path("straight"), STEPS).unwrap();
    let history = fs::read(sandbox.path("stopped/metrics.jsonl")).unwrap();
    let foreign = [
        b"{\"step\":1,\"of\":\"another\"}\n".repeat(200),
        b"half".to_vec(),
    ]
    .concat();
    // What is in the place of a file; nothing where it is gone.
    let cases: [(&str, Option<&[u8]>); 12] = [
        ("metrics.jsonl", None),
        ("metrics.jsonl", Some(b"")),
        ("metrics.jsonl", Some(&history[..history.len() / 2])),
        ("metrics.jsonl", Some(&foreign)),
        ("samples", None),
        ("tb", None),
        ("run.log", None),
        ("lock", None),
        ("provenance.json", None),
        ("provenance.json", Some(b"{")),
        ("checkpoints/latest", None),
        ("checkpoints/latest", Some(b"step-00000099\n")),
    ];
    for (number, (file, instead)) in cases.into_iter().enumerate() {
        let name = format!("run-{number}");
        let run = sandbox.path(&name);
        copy(&sandbox.path("stopped"), &run);
        let path = run.join(file);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        if let Some(bytes) = instead {
            fs::write(&path, bytes).unwrap();
        }
        let about = format!("{file} {:?}", instead.map(<[u8]>::len));
        use_it(&sandbox, &name);
        let output = sandbox.run(&["train", "--resume", &name]).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{about}: {stderr}");
        let is_history = file == "metrics.jsonl";
        assert_eq!(
            stderr.contains("is not the history"),
            is_history,
            "{about}: {stderr}"
        );
        if is_history {
            // What is there stays, and the steps from here on follow in lines of their own.
            let now = fs::read(&path).unwrap();
            assert!(now.starts_with(instead.unwrap_or_default()), "{about}");
            let now = String::from_utf8(now).unwrap();
            let steps: Vec<&str> = now.lines().rev().take(3).collect();
            for (line, step) in steps.into_iter().zip([8, 7, 6]) {
                assert!(
                    line.starts_with(&format!("{{\"step\":{step},")),
                    "{about}: {line}"
                );
            }
            let last = run.join("checkpoints/step-00000008/model.safetensors");
            assert!(fs::read(last).unwrap() == straight.model, "{about}");
        } else {
            assert!(Trace::read(&run, STEPS).unwrap() == straight, "{about}");
        }
        use_it(&sandbox, &format!("{name}/checkpoints/latest"));
    }
}

#[cfg(unix)]
#[test]
fn every_path_to_a_run_or_a_checkpoint_is_taken() {
    use std::os::unix::fs::symlink;

    let (_folder, sandbox) = runs();
    let straight = Trace::read(&sandbox.path("straight"), STEPS).unwrap();
    fs::create_dir(sandbox.path("links")).unwrap();
    symlink("../stopped", sandbox.path("links/run")).unwrap();
    symlink(
        "../stopped/checkpoints/step-00000004",
        sandbox.path("links/best"),
    )
    .unwrap();
    for path in [
        "links/run",
        "links/run/",
        "stopped/.",
        "stopped/checkpoints/latest",
        "links/run/checkpoints/step-00000004/",
        "links/best",
        "links/best/",
    ] {
        use_it(&sandbox, path);
        let folded = format!("folded-{}", path.replace('/', "-"));
        text(&sandbox, &["fold", path, "--out", &folded]);
    }
    // From inside a run, and from inside a checkpoint.
    let sample = |inside: &str, path: &str| {
        let mut command = sandbox.command(&["sample", path, "--tokens", "4"]);
        let output = command.current_dir(sandbox.path(inside)).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{inside} {path}: {stderr}");
        output.stdout
    };
    let expected = sample("", "stopped");
    for (inside, path) in [
        ("stopped", "."),
        ("stopped", "./"),
        ("stopped/checkpoints", ".."),
        ("stopped/checkpoints", "latest"),
        ("stopped/checkpoints", "step-00000005"),
        ("stopped/checkpoints/step-00000005", "."),
        ("links/run", "checkpoints/latest"),
    ] {
        assert_eq!(sample(inside, path), expected, "{inside} {path}");
    }

    // A run goes on through a link; from a linked checkpoint that isn't its newest, in a new run.
    let branch = ["train", "--resume", "links/best", "--run-dir", "branch"];
    text(&sandbox, &branch);
    assert!(Trace::read(&sandbox.path("branch"), STEPS).unwrap() == straight);
    text(&sandbox, &["train", "--resume", "links/run/"]);
    assert!(Trace::read(&sandbox.path("stopped"), STEPS).unwrap() == straight);
}

#[test]
fn the_run_started_last_goes_on_whatever_it_is_called() {
    let (_folder, sandbox) = sandbox();
    let short = ["--train.stop_after", "2", "--train.steps", "8"];
    // Sorted by name, the first is the last.
    text(
        &sandbox,
        &Sandbox::train("pre_norm", "runs/zz-baseline", &short),
    );
    text(
        &sandbox,
        &["fold", "runs/zz-baseline", "--out", "runs/zzz-folded"],
    );
    text(
        &sandbox,
        &Sandbox::train("pre_norm", "runs/aa-second", &short),
    );
    let auto = |name: &str| {
        let output = sandbox.run(&[
            "train",
            "--resume",
            "auto",
            "--config",
            "runs/aa-second/config.toml",
            "--train.stop_after",
            name,
        ]);
        let output = output.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        stderr
    };
    let said = auto("3");
    assert!(said.contains("continuing runs/aa-second"), "{said}");
    // Going on makes no run newer.
    text(
        &sandbox,
        &[
            "train",
            "--resume",
            "runs/zz-baseline",
            "--train.stop_after",
            "4",
        ],
    );
    let said = auto("4");
    assert!(said.contains("continuing runs/aa-second"), "{said}");
}
