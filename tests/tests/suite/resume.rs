//! A run that is stopped or killed anywhere and resumed equals the run that wasn't, bit for bit.

use crate::program::{sandbox, text};
use evenburn_tests::cli::{Sandbox, Trace};
use evenburn_train::Registry;
use std::path::Path;
use std::time::{Duration, Instant};

const STEPS: u64 = 40;
const KILLS: usize = 5;

/// The moment at which a run is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// When its log has this many more lines.
    Lines(usize),
    /// While this many-th checkpoint from now is written.
    Saving(usize),
}

fn lines(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.matches('\n').count())
}

fn is_saving(run: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(run.join("checkpoints")) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(".saving-"))
}

/// Starts or resumes the run and kills it at a moment; whether it was alive then.
fn kill_at(sandbox: &Sandbox, arguments: &[&str], run: &Path, moment: Moment) -> bool {
    let started = lines(run);
    let mut saved = 0;
    let mut saving = false;
    let mut child = sandbox
        .command(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        assert!(Instant::now() < deadline, "the run makes no progress");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let due = match moment {
            // The log shrinks to the checkpoint's length when a run is resumed.
            Moment::Lines(more) => lines(run) >= (started + more).min(STEPS as usize - 1),
            Moment::Saving(count) => {
                let now = is_saving(run);
                saved += usize::from(now && !saving);
                saving = now;
                saved >= count
            }
        };
        if due {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Draws the moments; another number tries others: `EVENBURN_KILL_SEED=7 cargo xtask test resume`.
fn seed() -> u64 {
    let given = std::env::var("EVENBURN_KILL_SEED").ok();
    given.map_or(1, |seed| {
        seed.parse().expect("EVENBURN_KILL_SEED is a number")
    })
}

/// Random moments, the same for the same seed and scheme.
fn moments(seed: u64, scheme: &str) -> [Moment; KILLS] {
    let name = scheme
        .bytes()
        .fold(0, |sum, byte| 31 * sum + u64::from(byte));
    let mut state = seed.wrapping_mul(1 << 32).wrapping_add(name);
    let mut draw = |n: u64| {
        // Knuth's MMIX generator; the upper half is random enough to pick a moment.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % n) as usize
    };
    [0, 1, 0, 1, 0].map(|kind| match kind {
        0 => Moment::Lines(1 + draw(6)),
        _ => Moment::Saving(1 + draw(2)),
    })
}

fn stopped_and_killed_runs_equal_the_straight_one(scheme: &str, sizes: &[&str]) {
    let (_folder, sandbox) = sandbox();
    text(&sandbox, &Sandbox::train(scheme, "straight", sizes));
    let straight = Trace::read(&sandbox.path("straight"), STEPS).unwrap();
    assert_eq!(straight.metrics.len() as u64, STEPS);

    text(
        &sandbox,
        &Sandbox::train(
            scheme,
            "stopped",
            &[sizes, &["--train.stop_after", "20"]].concat(),
        ),
    );
    assert_eq!(lines(&sandbox.path("stopped")), 20);
    text(
        &sandbox,
        &Sandbox::train(scheme, "stopped", &[sizes, &["--resume", "auto"]].concat()),
    );
    let stopped = Trace::read(&sandbox.path("stopped"), STEPS).unwrap();
    assert!(
        stopped == straight,
        "{scheme}: stopping at 20 and resuming changed the run"
    );

    let seed = seed();
    let moments = moments(seed, scheme);
    println!("{scheme}: killed at {moments:?}, seed {seed}");
    let run = sandbox.path("killed");
    let arguments = [sizes, &["--resume", "auto"]].concat();
    let arguments = Sandbox::train(scheme, "killed", &arguments);
    let killed = moments
        .iter()
        .filter(|moment| kill_at(&sandbox, &arguments, &run, **moment))
        .count();
    assert!(
        killed >= 3,
        "{scheme}: only {killed} of {moments:?} came before the end, seed {seed}"
    );
    text(&sandbox, &arguments);
    let resumed = Trace::read(&run, STEPS).unwrap();
    assert!(
        resumed == straight,
        "{scheme}: {moments:?} changed the run, seed {seed}"
    );
}

fn rates(run: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let fields: serde_json::Value = serde_json::from_str(line).unwrap();
            fields["train/lr"].as_f64().unwrap()
        })
        .collect()
}

#[test]
fn a_decay_started_by_hand_ends_the_run_and_survives_a_kill() {
    let (_folder, sandbox) = sandbox();
    let constant = ["--optim.schedule", "constant", "--train.stop_after", "20"];
    let resume = |run, more: &[&'static str]| {
        let arguments = [&constant[..2], &["--resume", "auto"], more].concat();
        text(&sandbox, &Sandbox::train("angpt", run, &arguments));
    };
    for run in ["straight", "stopped"] {
        text(&sandbox, &Sandbox::train("angpt", run, &constant));
        text(&sandbox, &["cooldown", run, "--steps", "5"]);
    }
    resume("straight", &[]);
    // Step 23 has no checkpoint of its own: the run goes on from one in the middle of the decay, then from the one at its
    // beginning, which doesn't know of it.
    resume("stopped", &["--train.stop_after", "23"]);
    for gone in ["step-00000023", "step-00000022"] {
        std::fs::remove_dir_all(sandbox.path("stopped").join("checkpoints").join(gone)).unwrap();
    }
    resume("stopped", &[]);
    let straight = Trace::read(&sandbox.path("straight"), 25).unwrap();
    assert_eq!(straight.metrics.len(), 25);
    assert!(Trace::read(&sandbox.path("stopped"), 25).unwrap() == straight);
    let rates = rates(&sandbox.path("straight"));
    let expected = [0.005, 0.005, 0.004, 0.003, 0.002, 0.001];
    for (rate, expected) in rates[19..].iter().zip(expected) {
        assert!((rate - expected).abs() < 1e-12, "{rates:?}");
    }
    let output = sandbox
        .run(&["cooldown", "straight", "--steps", "5"])
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn another_optimizer_is_refused_unless_its_state_may_be_reset() {
    let (_folder, sandbox) = sandbox();
    let first = ["--train.stop_after", "10"];
    text(&sandbox, &Sandbox::train("angpt", "run", &first));
    let muon = ["--resume", "auto", "--optim.recipe", "muon"];
    let refused = sandbox.run(&Sandbox::train("angpt", "run", &muon)).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8(refused.stderr).unwrap();
    for part in [
        "optim.recipe was \"adamw\" and is now \"muon\"",
        "--train.reset_optimizer true",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // A flag for the optimizer accepts nothing else.
    let reset = ["--train.reset_optimizer", "true"];
    let other = [&muon[..], &reset, &["--train.seed", "5"]].concat();
    let refused = sandbox
        .run(&Sandbox::train("angpt", "run", &other))
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));

    let stop = ["--train.stop_after", "15"];
    let accepted = [&muon[..], &reset, &stop].concat();
    text(&sandbox, &Sandbox::train("angpt", "run", &accepted));
    // From here on the run has the new settings, and the same command resets nothing more.
    let again = [&muon[..], &reset].concat();
    text(&sandbox, &Sandbox::train("angpt", "run", &again));
    let with_flag = Trace::read(&sandbox.path("run"), STEPS).unwrap();

    text(&sandbox, &Sandbox::train("angpt", "other", &first));
    let whole = Sandbox::train("angpt", "other", &again);
    text(&sandbox, &whole);
    let straight = Trace::read(&sandbox.path("other"), STEPS).unwrap();
    assert!(with_flag == straight, "the second resume changed the run");
}

/// One test per scheme, so that they run side by side.
macro_rules! schemes {
    ($($name:ident),+) => {
        $(#[test]
        fn $name() {
            stopped_and_killed_runs_equal_the_straight_one(stringify!($name), &[]);
        })+

        #[test]
        fn every_scheme_is_tested() {
            let names: Vec<&str> = Registry::default().model.names().collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

schemes!(
    pre_norm,
    post_norm,
    peri_norm,
    olmo2,
    hybrid_norm,
    deep_norm,
    keel,
    ln_scaling,
    dyt,
    derf,
    geo_norm,
    siamese_norm,
    simple_norm,
    ngpt,
    angpt
);

#[test]
fn angpt_norm_free() {
    let options = ["--norm.branch_norm", "none", "--norm.softmax_gain", "none"];
    stopped_and_killed_runs_equal_the_straight_one("angpt", &options);
}

#[test]
fn gpt_plus_unit() {
    stopped_and_killed_runs_equal_the_straight_one("pre_norm", &["--norm.qk", "unit"]);
}

#[test]
fn quest() {
    stopped_and_killed_runs_equal_the_straight_one("pre_norm", &["--norm.qk", "keys"]);
}

#[test]
fn ngpt_nu() {
    let options = ["--norm.residual_factor", "second_moment"];
    stopped_and_killed_runs_equal_the_straight_one("ngpt", &options);
}

/// A mixture of experts keeps a state of its own, the routers' corrections; dropout draws anew in each step.
#[test]
fn experts() {
    let mixture = [
        "--model.experts.count",
        "4",
        "--model.experts.balance",
        "bias",
        "--model.experts.shared",
        "1",
        "--model.dropout",
        "0.1",
        "--train.accumulate",
        "2",
    ];
    stopped_and_killed_runs_equal_the_straight_one("simple_norm", &mixture);
}
