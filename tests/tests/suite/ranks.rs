//! Ranks as processes: the same run whatever their number, and an end for all of them whatever happens to one.
//!
//! Without an MPI, or in a build without it, these tests say so and test nothing: `cargo xtask test` builds with it where there is one.

use crate::program::sandbox;
use evenburn_tests::cli::{Sandbox, Trace};
use evenburn_workspace::mpi;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// Whether there is something to test.
fn is_built() -> bool {
    let built = cfg!(feature = "mpi") && mpi::is_there();
    if !built {
        eprintln!(
            "SKIPPED: no MPI; on Debian: apt install openmpi-bin libopenmpi-dev libclang-dev"
        );
    }
    built
}

/// Longer than anything here takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_mins(1);

fn launched(sandbox: &Sandbox, ranks: usize, arguments: &[&str]) -> Command {
    let mut launcher = mpi::launcher(ranks);
    if ranks == 1 {
        // As a user without a launcher.
        return sandbox.command(arguments);
    }
    // More ranks than cores, whatever machine this is.
    launcher.arg("--oversubscribe");
    sandbox.command_by(launcher, arguments)
}

/// A run of eight micro-batches a step.
fn arguments<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let given = [
        "--train.steps",
        "12",
        "--train.accumulate",
        "8",
        "--train.batch_size",
        "1",
        "--train.eval_every",
        "5",
        "--metrics.norms_every",
        "4",
        "--no-baselines",
    ];
    [&Sandbox::train("angpt", run, &given)[..], more].concat()
}

/// Waits for the end of what was started; it must come.
fn ended(mut child: Child) -> Output {
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("it goes on: {}", said(&output));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn finish(sandbox: &Sandbox, ranks: usize, arguments: &[&str]) {
    let output = ended(launched(sandbox, ranks, arguments).spawn().unwrap());
    assert!(output.status.success(), "{ranks} ranks: {}", said(&output));
}

fn lines(run: &Path) -> usize {
    let history = fs::read_to_string(run.join("metrics.jsonl"));
    history.map_or(0, |text| text.matches('\n').count())
}

/// Waits until a run has so many steps.
fn wait_for(run: &Path, steps: usize, child: &mut Child) {
    let started = Instant::now();
    while lines(run) < steps {
        let over = child.try_wait().unwrap();
        assert!(
            over.is_none(),
            "it ended after {} steps: {over:?}",
            lines(run)
        );
        assert!(started.elapsed() < PATIENCE, "no progress");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process of a rank below a launcher.
fn rank(launcher: u32, number: usize) -> i32 {
    let wanted = format!("OMPI_COMM_WORLD_RANK={number}");
    let is_it = |process: &str| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // Behind the name in parentheses: state, parent.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split(' ').nth(2));
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        parent == Some(&launcher.to_string())
            && environment
                .split(|byte| *byte == 0)
                .any(|one| one == wanted.as_bytes())
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let mut names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| is_it(name)).unwrap().parse().unwrap()
}

fn signal(process: i32, name: &str) {
    let kill = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status();
    assert!(kill.unwrap().success());
}

#[test]
fn any_number_of_processes_trains_the_same_run() {
    if !is_built() {
        return;
    }
    let (_folder, sandbox) = sandbox();
    for (name, more) in [
        ("one-text", &[][..]),
        (
            "experts",
            &[
                "--model.experts.count",
                "4",
                "--model.experts.top_k",
                "2",
                "--optim.recipe",
                "muon",
            ],
        ),
    ] {
        let trace = |ranks: usize| {
            let run = format!("{name}-{ranks}");
            finish(&sandbox, ranks, &arguments(&run, more));
            let provenance = fs::read_to_string(sandbox.path(&run).join("provenance.json"));
            let provenance: serde_json::Value = serde_json::from_str(&provenance.unwrap()).unwrap();
            assert_eq!(provenance["ranks"], ranks);
            let metrics = fs::read_to_string(sandbox.path(&run).join("metrics.jsonl")).unwrap();
            assert_eq!(metrics.contains("perf/comm_ms"), ranks > 1);
            assert_eq!(metrics.contains("perf/wait_ms"), ranks > 1);
            Trace::read(&sandbox.path(&run), 12).unwrap()
        };
        let alone = trace(1);
        for ranks in [2, 4] {
            assert!(trace(ranks) == alone, "{name} on {ranks}");
        }
    }
}

#[test]
fn a_killed_run_goes_on_with_another_number_of_ranks() {
    if !is_built() {
        return;
    }
    let (_folder, sandbox) = sandbox();
    finish(&sandbox, 1, &arguments("straight", &[]));
    let run = sandbox.path("killed");
    let command = |ranks| launched(&sandbox, ranks, &arguments("killed", &["--resume", "auto"]));
    for (ranks, killed, steps) in [(2, 1, 3), (4, 0, 6), (1, 0, 9)] {
        let mut child = command(ranks).spawn().unwrap();
        wait_for(&run, steps, &mut child);
        if ranks == 1 {
            child.kill().unwrap();
        } else {
            signal(rank(child.id(), killed), "KILL");
        }
        let output = ended(child);
        assert!(!output.status.success());
    }
    finish(&sandbox, 2, &arguments("killed", &["--resume", "auto"]));
    let of = |run: &str| Trace::read(&sandbox.path(run), 12).unwrap();
    assert!(of("killed") == of("straight"));
}

#[test]
fn a_signal_to_any_rank_leads_to_a_checkpoint() {
    if !is_built() {
        return;
    }
    let (_folder, sandbox) = sandbox();
    // The last is sent to the launcher, which passes it on.
    for (name, number) in [("TERM", Some(1)), ("INT", Some(0)), ("USR1", None)] {
        let run = sandbox.path(name);
        let more = ["--train.steps", "100000", "--train.checkpoint_every", "0"];
        let mut child = launched(&sandbox, 2, &arguments(name, &more))
            .spawn()
            .unwrap();
        wait_for(&run, 2, &mut child);
        let process = match number {
            Some(number) => rank(child.id(), number),
            None => child.id().cast_signed(),
        };
        signal(process, name);
        let output = ended(child);
        assert!(output.status.success(), "{name}: {}", said(&output));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains("interrupted after step"), "{printed}");
        assert!(run.join("checkpoints/latest").is_file());
    }
}

/// The program whose optimizer fails on a rank.
fn failing(folder: &Path) -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_evenburn-failing"), folder).unwrap()
}

#[test]
fn whatever_happens_to_one_rank_ends_all() {
    if !is_built() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sandbox = failing(folder.path());
    for (how, words) in [
        (
            "panic 1 3",
            &["a panic that was asked for", "rank 1 on ", "all ranks end"][..],
        ),
        (
            "panic 0 3",
            &["a panic that was asked for", "rank 0 on ", "all ranks end"],
        ),
        (
            "stop 1 3",
            &["ranks.patience", "rank 0 on ", "all ranks end"],
        ),
        ("error 1 3", &["an error that was asked for", "rank 1 on "]),
        ("nan 1 3", &["step 4"]),
    ] {
        let run = how.replace(' ', "-");
        let more = [
            "--optim.recipe",
            "failing",
            "--optim.lr",
            "0.001",
            "--ranks.patience",
            "2",
        ];
        let mut command = launched(&sandbox, 2, &arguments(&run, &more));
        let output = ended(command.env("EVENBURN_FAIL", how).spawn().unwrap());
        let said = said(&output);
        assert!(!output.status.success(), "{how}: {said}");
        for word in words {
            assert!(said.contains(word), "{how}, {word}: {said}");
        }
        // The checkpoint from before is there, and one rank goes on from it.
        finish(
            &sandbox,
            1,
            &arguments(&run, &[&more[..], &["--resume", "auto"]].concat()),
        );
    }
}

#[test]
fn a_full_disk_of_rank_0_ends_all() {
    if !is_built() {
        return;
    }
    let (_folder, sandbox) = sandbox();
    let mut launcher = mpi::launcher(2);
    // A file may have so many blocks of 512 bytes; what is beyond is an error and no signal.
    let limited = "if [ \"$OMPI_COMM_WORLD_RANK\" = 0 ]; then trap '' XFSZ; ulimit -f 100; fi; exec \"$0\" \"$@\"";
    launcher.args(["--oversubscribe", "sh", "-c", limited]);
    let output = sandbox.command_by(launcher, &arguments("full", &[]));
    let output = ended({ output }.spawn().unwrap());
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("error: cannot write"), "{said}");
    finish(&sandbox, 2, &arguments("full", &["--resume", "auto"]));
}

#[test]
fn ranks_that_were_started_differently_train_nothing() {
    if !is_built() {
        return;
    }
    let (_folder, sandbox) = sandbox();
    let other = fs::read_to_string(sandbox.path("tiny.toml")).unwrap();
    fs::write(
        sandbox.path("other.toml"),
        other.replace("lr = 0.005", "lr = 0.006"),
    )
    .unwrap();
    let first = arguments("foreign", &[]);
    let second: Vec<&str> = first
        .iter()
        .map(|word| {
            if *word == "tiny.toml" {
                "other.toml"
            } else {
                word
            }
        })
        .collect();
    let mut command = sandbox.command_by(mpi::launcher(1), &first);
    command
        .args([":", "-n", "1", env!("CARGO_BIN_EXE_evenburn-under-test")])
        .args(second);
    let output = ended(command.spawn().unwrap());
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("rank 1 on ") && said.contains("another configuration"),
        "{said}"
    );
    assert!(!sandbox.path("foreign").exists());
}

#[test]
fn a_number_of_ranks_that_cannot_share_out_a_step_is_refused() {
    if !is_built() {
        return;
    }
    let (_folder, sandbox) = sandbox();
    let output = launched(&sandbox, 2, &arguments("odd", &["--train.accumulate", "3"]));
    let output = ended({ output }.spawn().unwrap());
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("1 or 3 ranks, not over 2"), "{said}");
    assert!(!sandbox.path("odd").exists());
}

/// Also in a build with MPI: what a launcher says and what its library sees must be one.
#[test]
fn a_program_that_cannot_join_does_not_train_beside_the_others() {
    let (_folder, sandbox) = sandbox();
    let mut command = sandbox.command(&arguments("run", &[]));
    let output = command.env("OMPI_COMM_WORLD_SIZE", "2").output().unwrap();
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("a launcher has started 2 ranks"), "{said}");
    assert!(!sandbox.path("run").exists());
}
