//! What a stream takes: the time to its first step, memory, and the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hub::{Hub, folder};

/// A model that is trained in no time.
const TINY: [&str; 18] = [
    "--model.vocab_size",
    "512",
    "--model.dim",
    "16",
    "--model.layers",
    "1",
    "--model.heads",
    "2",
    "--model.hidden",
    "32",
    "--model.context",
    "64",
    "--train.eval_tokens",
    "128",
    "--train.sample_tokens",
    "0",
    "--train.batch_size",
    "8",
];

const MEBIBYTE: u64 = 1 << 20;

/// Arguments of a run.
fn training<'a>(run: &'a Path, place: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let run = [
        "train",
        "--no-baselines",
        "--run-dir",
        run.to_str().unwrap(),
    ];
    let place = ["--data.path", place];
    [&run[..], &place, &TINY, more].concat()
}

/// Trains; what it said on standard error, and the most memory it took, in bytes.
fn trained(hub: &Hub, name: &str, place: &str, more: &[&str]) -> (String, f64) {
    let run = hub.home.path().join(name);
    let ran = hub.run(&training(&run, place, more));
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{name}: {told}");
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    (told, last["mem/peak_rss"].as_f64().unwrap())
}

fn tokenizer() -> String {
    let file = folder().join("repos/models/openai-community/gpt2/tokenizer.json");
    file.display().to_string()
}

/// 59,171 files in 60 pages of a listing, and validation text elsewhere.
#[test]
fn a_wide_listing_is_trained_on_within_seconds() {
    let Some(hub) = Hub::start(&json!([])) else {
        return;
    };
    let tokenizer = tokenizer();
    let few = "hf://datasets/evenburn/slim-mini";
    let validation = format!("{few}/validation");
    let more = [
        "--data.tokenizer",
        &tokenizer,
        "--data.validation_path",
        &validation,
        "--train.steps",
        "3",
    ];
    let train = format!("{few}/train");
    let (_, few) = trained(&hub, "few", &train, &more);
    let (told, wide) = trained(&hub, "wide", "hf://datasets/evenburn/slim-wide", &more);
    let first = told.split("first step after ").nth(1).unwrap();
    let seconds: f64 = first.split(' ').next().unwrap().parse().unwrap();
    println!("first step after {seconds} s; {few} and {wide} bytes");
    assert!(seconds < 10.0, "{told}");
    // A file of a listing takes 2.5 KB.
    assert!(wide - few < 59_171.0 * 4096.0, "{few} {wide}");
    // Of the files, those that were needed.
    assert!(hub.files_sent().len() < 50, "{:?}", hub.files_sent().len());
}

/// Documents of a file as JSON lines.
fn documents(file: u64, bytes: u64) -> String {
    let mut lines = String::new();
    let mut number = file * 1_000_003;
    while (lines.len() as u64) < bytes {
        number += 1;
        let text = format!("Part {number} weighs {} grams. ", number * number % 9973).repeat(8);
        lines += &format!("{}\n", json!({ "text": text }));
    }
    lines
}

/// A hub with one repository, whose training files these are.
fn hub_of(root: &Path, files: &[(String, Vec<u8>)]) -> Option<Hub> {
    let repository = root.join("datasets/org/large");
    for split in ["train", "validation"] {
        fs::create_dir_all(repository.join(split)).unwrap();
    }
    for (name, bytes) in files {
        fs::write(repository.join("train").join(name), bytes).unwrap();
    }
    let validation = repository.join("validation/part.jsonl");
    fs::write(validation, documents(99, 20_000)).unwrap();
    Hub::start_with(root, &json!([]))
}

/// A window is held, not the file it is a part of.
#[test]
fn a_stream_takes_memory_for_its_windows() {
    let root = tempfile::tempdir().unwrap();
    let packed = |bytes| zstd::encode_all(documents(1, bytes).as_bytes(), 1).unwrap();
    let files = [("large", 96 * MEBIBYTE), ("small", MEBIBYTE)];
    let files = files.map(|(name, bytes)| (format!("{name}.jsonl.zst"), packed(bytes)));
    let Some(hub) = hub_of(root.path(), &files) else {
        return;
    };
    let tokenizer = tokenizer();
    let more = [
        "--data.tokenizer",
        &tokenizer,
        "--data.validation_path",
        "hf://datasets/org/large/validation",
        "--data.window_bytes",
        "1048576",
        "--train.steps",
        "20",
    ];
    let place = |name| format!("hf://datasets/org/large/train/{name}.jsonl.zst");
    let (_, small) = trained(&hub, "small", &place("small"), &more);
    let (_, large) = trained(&hub, "large", &place("large"), &more);
    println!("{small} and {large} bytes");
    // Three windows more, as text, as lines and as tokens.
    assert!(large - small < (24 * MEBIBYTE) as f64, "{small} {large}");
}

/// Bytes of the files below folders; files that go while it looks count for nothing.
fn bytes_below(folders: &[PathBuf]) -> u64 {
    let mut folders = folders.to_vec();
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => bytes += entry.metadata().map_or(0, |it| it.len()),
                _ => {}
            }
        }
    }
    bytes
}

/// Looked at every few milliseconds from its start to its end, a stream is never over its budget, though it reads several
/// times as much.
#[test]
fn a_stream_takes_its_part_of_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let file = |n: u64| {
        let name = format!("part-{n:02}.jsonl");
        (name, documents(n, MEBIBYTE / 2).into_bytes())
    };
    let files: Vec<_> = (0..12).map(file).collect();
    let Some(hub) = hub_of(root.path(), &files) else {
        return;
    };
    let tokenizer = tokenizer();
    let budget = 3 * MEBIBYTE / 2;
    let room = budget.to_string();
    let more = [
        "--data.tokenizer",
        &tokenizer,
        "--data.shard_bytes",
        "500000",
        "--data.window_bytes",
        "262144",
        "--data.cache_bytes",
        &room,
        "--train.steps",
        "300",
        "--train.accumulate",
        "8",
    ];
    let run = hub.home.path().join("run");
    // What tokenized validation text, listings and records of a run take isn't of the budget.
    let kept = [hub.home.path().join("hf"), hub.home.path().join("own")];
    let mut command = hub.command(&training(&run, "hf://datasets/org/large", &more));
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut most, mut looks) = (0, 0);
    let status = loop {
        most = most.max(bytes_below(&kept));
        looks += 1;
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(3));
    };
    assert!(status.success());
    let sent = hub.files_sent().len() as u64;
    println!("{most} bytes at most of {budget} in {looks} looks; {sent} files");
    assert!(
        sent * MEBIBYTE / 2 > 2 * budget,
        "{sent} files are too few to tell"
    );
    assert!(most < budget + MEBIBYTE / 4, "{most} bytes");
    assert!(most > budget / 2, "{most} bytes: it isn't used");
}
