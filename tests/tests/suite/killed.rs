//! A run that streams its text, is killed at any moment and resumed, every second time without its caches, is the run that
//! wasn't, bit for bit.
//!
//! `EVENBURN_KILLS=100 cargo xtask test killed` kills each a hundred times; `EVENBURN_KILL_SEED` draws other moments.

use crate::hub::Hub;
use crate::program::{sandbox, text};
use evenburn_tests::cli::{Sandbox, Trace};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Steps that a run takes between two kills, about.
const STEPS_A_KILL: u64 = 8;

/// A number that the environment says.
fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number"))
    })
}

/// Knuth's MMIX generator; the upper half is random enough to pick moments.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// The moment at which a run is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after its start, which may be before its first step.
    Started(Duration),
    /// When its history has so many more lines.
    Lines(usize),
    /// While a checkpoint is written.
    Saving,
}

impl Moment {
    fn drawn(draw: &mut Draw) -> Self {
        match draw.below(4) {
            0 => Self::Started(Duration::from_millis(draw.below(700))),
            1 => Self::Saving,
            _ => Self::Lines(1 + draw.below(2 * STEPS_A_KILL - 2) as usize),
        }
    }

    /// Whether it is there, for a run whose history had `before` lines when it was started.
    fn is_there(self, run: &Path, started: Instant, before: usize) -> bool {
        match self {
            Self::Started(after) => started.elapsed() >= after,
            Self::Lines(more) => lines(run) >= before + more,
            Self::Saving => is_saving(run),
        }
    }
}

fn lines(run: &Path) -> usize {
    let history = fs::read_to_string(run.join("metrics.jsonl"));
    history.map_or(0, |text| text.matches('\n').count())
}

fn is_saving(run: &Path) -> bool {
    let entries = fs::read_dir(run.join("checkpoints"));
    let mut entries = entries.into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(".saving-"))
}

/// Starts or resumes a run and kills it at a moment; whether it was alive then.
fn kill(mut command: Command, run: &Path, moment: Moment) -> bool {
    let before = lines(run);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    loop {
        assert!(
            started.elapsed() < Duration::from_mins(1),
            "the run makes no progress"
        );
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if moment.is_there(run, started, before) {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Trains a run in one go, everything prepared before its first step, and one that streams and is killed.
///
/// `reach` gives a command what it needs to reach the text, and `caches` are the folders that a lost machine has no more.
fn killed_runs_equal_the_straight_one(
    sandbox: &Sandbox,
    arguments: &[&str],
    reach: &dyn Fn(&mut Command),
    caches: &[&Path],
) {
    let kills = number("EVENBURN_KILLS", 4);
    let steps = (STEPS_A_KILL * kills).to_string();
    let command = |run: &str, more: &[&str]| {
        let given = ["train", "--config", "tiny.toml", "--run-dir", run];
        let budget = ["--train.steps", &steps, "--no-baselines"];
        let mut command = sandbox.command(&[&given, &budget[..], arguments, more].concat());
        reach(&mut command);
        command
    };
    let finish = |run: &str, more: &[&str]| {
        let output = command(run, more).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{run}: {told}");
        Trace::read(&sandbox.path(run), STEPS_A_KILL * kills).unwrap()
    };
    let lose = || {
        for cache in caches {
            let _ = fs::remove_dir_all(cache);
        }
    };
    let straight = finish("straight", &["--data.prepare", "all"]);
    assert_eq!(straight.metrics.len() as u64, STEPS_A_KILL * kills);

    lose();
    let seed = number("EVENBURN_KILL_SEED", 1);
    let mut draw = Draw(seed);
    let run = sandbox.path("killed");
    let ahead = ["--data.prepare", "ahead", "--resume", "auto"];
    let mut alive = 0;
    for number in 0..kills {
        let moment = Moment::drawn(&mut draw);
        let killed = kill(command("killed", &ahead), &run, moment);
        println!(
            "seed {seed}: {moment:?}, {} after line {}",
            if killed { "killed" } else { "not alive" },
            lines(&run)
        );
        alive += u64::from(killed);
        if number % 2 == 1 {
            lose();
        }
    }
    assert!(2 * alive >= kills, "only {alive} of {kills}, seed {seed}");
    let killed = finish("killed", &ahead);
    assert!(killed.metrics == straight.metrics, "losses, seed {seed}");
    assert!(killed == straight, "weights, seed {seed}");
}

/// Files with documents of a kind, some in each of the splits by their hashes.
fn write_texts(folder: &Path, kind: &str, files: u64) {
    fs::create_dir_all(folder).unwrap();
    for file in 0..files {
        let line = |n: u64| {
            let text = format!(
                "{kind} {file} has {} parts, and part {n} weighs {} grams.",
                n % 7,
                n * n % 97
            );
            format!(
                "{}\n",
                serde_json::json!({ "text": text.repeat(1 + n as usize % 3) })
            )
        };
        let lines: String = (0..40).map(line).collect();
        fs::write(folder.join(format!("part-{file:02}.jsonl")), lines).unwrap();
    }
}

/// A shard a file or two, and several windows a shard.
const SMALL: [&str; 8] = [
    "--data.shard_bytes",
    "9000",
    "--data.window_bytes",
    "1500",
    "--data.validation_fraction",
    "0.2",
    "--train.keep",
    "2",
];

/// A tokenizer that was trained on one of the texts: that of a run that is prepared as a whole is another than that of one that
/// streams.
fn tokenizer(sandbox: &Sandbox, path: &str) {
    let vocab = ["--vocab", "320"];
    let train = ["tokenizer", "train", path, "--out", "tokenizer.json"];
    text(sandbox, &[&train[..], &vocab].concat());
}

#[test]
fn killed_while_streaming_a_folder() {
    let (_folder, sandbox) = sandbox();
    write_texts(&sandbox.path("items"), "Item", 12);
    tokenizer(&sandbox, "items");
    let own = ["--data.path", "items", "--data.tokenizer", "tokenizer.json"];
    let arguments = [&own[..], &SMALL].concat();
    killed_runs_equal_the_straight_one(&sandbox, &arguments, &|_| (), &[&sandbox.path("cache")]);
}

/// Every source has a cursor of its own, and their weights change on the way.
#[test]
fn killed_while_streaming_a_mixture() {
    let (_folder, sandbox) = sandbox();
    for (kind, files) in [("web", 9), ("code", 4), ("books", 3)] {
        write_texts(&sandbox.path(kind), kind, files);
    }
    tokenizer(&sandbox, "web");
    let sources = "[{ name = 'web', path = 'web', weight = [[0, 3.0], [1500, 1.0]] }, \
                   { name = 'code', path = 'code', weight = 1 }, \
                   { name = 'books', path = 'books', weight = [[0, 0.0], [700, 0.5], [2000, 2.0]] }]";
    let own = [
        "--data.sources",
        sources,
        "--data.tokenizer",
        "tokenizer.json",
    ];
    let arguments = [&own[..], &SMALL].concat();
    killed_runs_equal_the_straight_one(&sandbox, &arguments, &|_| (), &[&sandbox.path("cache")]);
}

#[test]
fn killed_while_streaming_from_a_hub() {
    let Some(hub) = Hub::start(&serde_json::json!([])) else {
        return;
    };
    let (_folder, sandbox) = sandbox();
    tokenizer(&sandbox, "text");
    let home = sandbox.path("hf");
    let reach = |command: &mut Command| {
        command.env("HF_ENDPOINT", &hub.api).env("HF_HOME", &home);
    };
    let own = [
        "--data.path",
        "hf://datasets/evenburn/slim-mini",
        "--data.tokenizer",
        "tokenizer.json",
    ];
    let arguments = [&own[..], &SMALL].concat();
    killed_runs_equal_the_straight_one(
        &sandbox,
        &arguments,
        &reach,
        &[&sandbox.path("cache"), &home],
    );
}
