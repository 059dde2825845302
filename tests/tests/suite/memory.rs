//! The memory that `describe` estimates, against what runs take.

use crate::program::{sandbox, text};
use evenburn_tests::cli::Sandbox;
use evenburn_train::Registry;

/// The most memory that a run of a few steps takes, in bytes. The run is removed: a dozen of them are a gigabyte of
/// checkpoints.
fn peak(sandbox: &Sandbox, scheme: &str, sizes: &[&str]) -> f64 {
    let steps = ["--train.steps", "6", "--no-baselines"];
    let more = [&steps[..], sizes].concat();
    text(sandbox, &Sandbox::train(scheme, "run", &more));
    let folder = sandbox.path("run");
    let log = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    last["mem/peak_rss"].as_f64().unwrap()
}

/// Bytes that `describe` estimates for the same configuration.
fn estimate(sandbox: &Sandbox, scheme: &str, sizes: &[&str]) -> f64 {
    let words = ["describe", "tiny.toml", "--norm.scheme", scheme];
    let described = text(sandbox, &[&words[..], sizes].concat());
    let (_, estimate) = described.split_once("(estimate): ").unwrap();
    let mebibytes: f64 = estimate.split(' ').next().unwrap().parse().unwrap();
    mebibytes * f64::from(1 << 20)
}

#[test]
fn memory_is_estimated_within_a_fifth() {
    let (_folder, sandbox) = sandbox();
    let sizes = [
        "--model.dim",
        "128",
        "--model.layers",
        "4",
        "--model.vocab_size",
        "4096",
    ];
    let batch = [
        "--model.context",
        "256",
        "--train.batch_size",
        "8",
        "--train.accumulate",
        "1",
    ];
    let sizes = [&sizes[..], &batch[..]].concat();
    let experts = [
        "--model.experts.count",
        "8",
        "--model.experts.top_k",
        "2",
        "--model.hidden",
        "176",
    ];
    let mixture = [&sizes[..], &experts].concat();
    let registry = Registry::default();
    let dense = registry
        .model
        .names()
        .map(|scheme| (scheme, scheme, &sizes));
    // The first run tokenizes, which takes memory of its own; all others find the tokens in the cache.
    peak(&sandbox, "pre_norm", &sizes);
    let mut off = Vec::new();
    for (label, scheme, sizes) in dense.chain([("experts", "pre_norm", &mixture)]) {
        let measured = peak(&sandbox, scheme, sizes);
        let ratio = estimate(&sandbox, scheme, sizes) / measured;
        println!(
            "{label}: {ratio:.3} of {:.1} MiB",
            measured / f64::from(1 << 20)
        );
        if !(0.8..1.2).contains(&ratio) {
            off.push(format!("{label}: {ratio:.3} of {measured} bytes"));
        }
    }
    assert!(off.is_empty(), "{off:?}");
}
