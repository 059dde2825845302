//! Where a stream looks for validation text.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use evenburn_data::{DataConfig, Evaluation, prepare, prepare_ahead};

/// More files than are searched where nothing says which of them hold validation text.
const FILES: usize = 100;

const EVALUATION: Evaluation = Evaluation {
    context: 16,
    samples: 4,
};

fn write(folder: &Path, name: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lines = (0..20).map(|n| format!("{{\"text\": \"{name} has line {n} of twenty\"}}\n"));
    fs::write(path, lines.collect::<String>()).unwrap();
}

fn config(folder: &Path, shard_bytes: u64) -> DataConfig {
    DataConfig {
        path: folder.to_str().unwrap().into(),
        tokenizer_vocab: 270,
        validation_fraction: 1e-9,
        shard_bytes,
        ..DataConfig::default()
    }
}

/// Files that are called validation are found behind any number of training files, whose text isn't read for them.
#[test]
fn behind_many_training_files() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    for file in 0..FILES {
        write(&text, &format!("train/{file:03}.jsonl"));
    }
    write(&text, "validation/000.jsonl");
    for shard_bytes in [0, 8 << 20] {
        let config = config(&text, shard_bytes);
        let cache = dir.path().join(format!("cache-{shard_bytes}"));
        let streamed = prepare_ahead(&config, EVALUATION, &cache, &()).unwrap();
        let all = prepare(&config, &cache, &()).unwrap();
        let batch = |store: &evenburn_data::PackedStore| {
            let batches = store.batches(16, 4, Some(EVALUATION.samples)).unwrap();
            batches.map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(batch(&streamed.validation), batch(&all.validation));
    }
}

/// Where every document finds its split by itself and none is for validation, that is said after some files, however small they
/// are.
#[test]
fn nowhere_in_the_first_files() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    for file in 0..FILES {
        write(&text, &format!("{file:03}.jsonl"));
    }
    // What comes later isn't read.
    fs::write(text.join("099.jsonl"), "no JSON\n").unwrap();
    for shard_bytes in [0, 8 << 20] {
        let tokenizer = dir.path().join("tokenizer.json");
        if !tokenizer.exists() {
            let texts = ["some text"].map(|text| Ok(text.to_owned()));
            let trained = evenburn_data::Tokenizer::train(texts.into_iter(), 260, "<|endoftext|>");
            trained.unwrap().save(&tokenizer).unwrap();
        }
        let config = DataConfig {
            tokenizer: tokenizer.to_str().unwrap().into(),
            ..config(&text, shard_bytes)
        };
        let cache = dir.path().join(format!("cache-{shard_bytes}"));
        let error = prepare_ahead(&config, EVALUATION, &cache, &()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("data.validation_path: ") && said.contains("first 64 files"),
            "{said}"
        );
    }
}
