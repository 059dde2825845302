//! Fixtures made at run time.

#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod kinds;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use evenburn_data::{Corpus, DataConfig, prepare};
use tempfile::TempDir;

/// One zstd frame for each part.
pub(crate) fn zst(parts: &[&[u8]]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| zstd::encode_all(*part, 3).unwrap())
        .collect()
}

/// One gzip member for each part.
pub(crate) fn gz(parts: &[&[u8]]) -> Vec<u8> {
    let compress = |part: &&[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(part).unwrap();
        encoder.finish().unwrap()
    };
    parts.iter().flat_map(compress).collect()
}

/// Words drawn by a small generator of its own, so that a seed always means the same text.
pub(crate) fn prose(seed: u64, words: usize) -> String {
    const WORDS: [&str; 16] = [
        "the", "norm", "of", "a", "vector", "is", "never", "larger", "than", "its", "radius",
        "and", "naïve", "scale", "42", "(so)",
    ];
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut text = String::new();
    for i in 0..words {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let word = WORDS[(state >> 60) as usize];
        let gap = if i % 13 == 12 { ".\n" } else { " " };
        text.push_str(word);
        text.push_str(gap);
    }
    text
}

/// A folder in SlimPajama's layout, below Cargo's own for tests: one in a `static` is never removed.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
}

impl Fixture {
    /// `files` training files of `documents` documents each, and one validation file.
    pub(crate) fn new(files: u64, documents: u64) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let write = |name: String, seed: u64| {
            let path = dir.path().join("text").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let lines: Vec<String> = (0..documents)
                .map(|d| {
                    let text = prose(seed * 1000 + d, 5 + (d as usize * 7) % 40);
                    serde_json::json!({ "text": text, "meta": {} }).to_string()
                })
                .collect();
            fs::write(path, zst(&[lines.join("\n").as_bytes()])).unwrap();
        };
        for file in 0..files {
            write(
                format!("train/chunk1/example_train_{file}.jsonl.zst"),
                file + 1,
            );
        }
        write("validation/chunk1/example_holdout_0.jsonl.zst".into(), 999);
        Self { dir }
    }

    pub(crate) fn text(&self) -> PathBuf {
        self.dir.path().join("text")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// One shard per file, and a small trained tokenizer.
    pub(crate) fn config(&self) -> DataConfig {
        DataConfig {
            path: self.text().to_str().unwrap().into(),
            tokenizer_vocab: 300,
            shard_bytes: 1,
            ..Default::default()
        }
    }

    pub(crate) fn corpus(&self) -> Corpus {
        prepare(&self.config(), &self.cache(), &()).unwrap()
    }
}

/// Files below a folder with their contents, by relative name.
pub(crate) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file())
        .map(|p| {
            (
                p.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read(&p).unwrap(),
            )
        })
        .collect();
    all.sort();
    all
}
