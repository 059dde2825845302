//! Bytes of text per token, from the file to a score; unknown text; what a tokenizer's file is
//! not followed in.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use common::kinds::{EOD, bert, bpe, kinds, text, words};
use evenburn_data::{Corpus, DataConfig, Score, Split, Tokenizer, prepare, train_bpe};
use serde_json::{Value, json};

fn trained() -> String {
    let texts = (0..40).map(|seed| Ok(text(seed, 400)));
    train_bpe(texts, 500, EOD).unwrap().json().to_owned()
}

fn corpus(dir: &Path, tokenizer: &Value, texts: &[String]) -> Corpus {
    let path = dir.join("tokenizer.json");
    fs::write(&path, tokenizer.to_string()).unwrap();
    let data = dir.join("data.jsonl");
    let line = |text: &String| json!({ "text": text, "split": "train" }).to_string();
    let mut lines: Vec<String> = texts.iter().map(line).collect();
    let held = |text: &String| json!({ "text": text, "split": "validation" }).to_string();
    lines.extend(texts.iter().rev().map(held));
    fs::write(&data, lines.join("\n")).unwrap();
    let config = DataConfig {
        path: data.to_str().unwrap().into(),
        tokenizer: path.to_str().unwrap().into(),
        ..DataConfig::default()
    };
    prepare(&config, &dir.join("cache"), &()).unwrap()
}

#[test]
fn the_bytes_of_all_targets_are_the_text() {
    let texts: Vec<String> = (0..20).map(|seed| text(500 + seed, 60)).collect();
    let length: usize = texts.iter().map(String::len).sum();
    for kind in kinds(&trained()) {
        let dir = tempfile::tempdir().unwrap();
        let name = kind.name;
        let corpus = corpus(dir.path(), &kind.json, &texts);
        for (split, store) in [
            (Split::Train, &corpus.train),
            (Split::Validation, &corpus.validation),
        ] {
            assert_eq!(store.text_bytes() as usize, length, "{name}");
            let record = corpus
                .manifest
                .shards
                .iter()
                .find(|s| s.split == split)
                .unwrap();
            assert_eq!(record.token_bytes.is_none(), kind.table, "{name}");
            // One sample that is all of the shard leaves out its first token's bytes alone.
            let all = store.tokens() as usize - 1;
            let sample = store.sample(0, 0, all).unwrap();
            let bytes = sample.bytes.unwrap();
            let sum: u64 = bytes.iter().map(|count| u64::from(*count)).sum();
            assert_eq!(sum as usize, length, "{name}");
            let scored = |context: usize| {
                let batches = store.batches(context, 3, None).unwrap();
                batches.fold(Score::default(), |mut sum, batch| {
                    sum += Score::of_batch(1.0, &batch.unwrap());
                    sum
                })
            };
            let score = scored(all);
            assert_eq!(score.bytes, Some(sum - u64::from(bytes[0])), "{name}");
            // Smaller samples score the same tokens, but for a rest.
            let small = scored(7);
            let rest = all % 7;
            let left: u64 = bytes[bytes.len() - rest..]
                .iter()
                .map(|count| u64::from(*count))
                .sum();
            assert_eq!(small.bytes.unwrap() + left, score.bytes.unwrap(), "{name}");
            store.verify().unwrap();
        }
        // A tokenizer with a table adds nothing to the manifest.
        let json = fs::read_to_string(corpus.folder.join("manifest.json")).unwrap();
        assert_eq!(json.contains("token_bytes"), !kind.table, "{name}");
        assert_eq!(
            json.contains("unknown"),
            corpus.manifest.totals(Split::Train).unknown > 0
        );
    }
}

#[test]
fn tokens_of_any_length_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let word = |length: usize| "q".repeat(length);
    let spaces = |length: usize| " ".repeat(length);
    let texts = vec![
        format!("the {} norm", word(254)),
        format!("{}of{}", spaces(255), spaces(256)),
        word(100_000),
        format!("the{}", spaces(70_000)),
        format!("{} the\nnorm", word(300)),
    ];
    let corpus = corpus(dir.path(), &bert(&[]), &texts);
    let store = &corpus.train;
    let all = store.tokens() as usize - 1;
    let bytes = store.sample(0, 0, all).unwrap().bytes.unwrap();
    let want = [3, 255, 5, 0, 257, 256, 100_000, 0, 3, 70_000, 300, 4, 5, 0];
    assert_eq!(bytes, want);
    let record = corpus.manifest.shards[0].token_bytes.as_ref().unwrap();
    assert_eq!(record.long, 6);
    for start in 0..all {
        let sample = store.sample(0, start as u64, 1).unwrap();
        assert_eq!(sample.bytes.unwrap(), want[start..start + 2]);
    }
}

#[test]
fn a_damaged_file_of_bytes_is_noticed() {
    let texts: Vec<String> = (0..5).map(|seed| text(seed, 60)).collect();
    let again = |harm: fn(Vec<u8>) -> Vec<u8>| {
        let dir = tempfile::tempdir().unwrap();
        let made = corpus(dir.path(), &bert(&[]), &texts);
        let path = made
            .folder
            .join(format!("{}.bytes", made.manifest.shards[0].name));
        fs::write(&path, harm(fs::read(&path).unwrap())).unwrap();
        let config = DataConfig {
            path: dir.path().join("data.jsonl").to_str().unwrap().into(),
            tokenizer: dir.path().join("tokenizer.json").to_str().unwrap().into(),
            ..DataConfig::default()
        };
        let error = prepare(&config, &dir.path().join("cache"), &()).unwrap_err();
        assert!(error.to_string().contains(".bytes"), "{error}");
    };
    again(|bytes| bytes[1..].to_vec());
    again(|mut bytes| {
        bytes[3] ^= 1;
        bytes
    });
    again(|_| Vec::new());
}

#[test]
fn unknown_text_is_counted_and_said() {
    let known = "the norm of ".repeat(50);
    let foreign = "東 京 都 \u{1F600} ".repeat(50);
    let half = format!("{known}{foreign}");
    for (name, tokenizer, text, warned) in [
        ("words", words(&[], "<unk>"), &known, false),
        ("foreign words", words(&[], "<unk>"), &foreign, true),
        ("half of the words", words(&[], "<unk>"), &half, true),
        ("pieces", bert(&[]), &known, false),
        ("foreign pieces", bert(&[]), &foreign, true),
        (
            "bytes",
            serde_json::from_str(&trained()).unwrap(),
            &foreign,
            false,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let corpus = corpus(dir.path(), &tokenizer, std::slice::from_ref(text));
        let remarks = corpus.manifest.remarks();
        assert_eq!(
            remarks.len(),
            if warned { 2 } else { 0 },
            "{name}: {remarks:?}"
        );
        for remark in remarks {
            assert!(
                remark.contains('%') && remark.contains("unknown"),
                "{remark}"
            );
        }
    }
}

#[test]
fn dropout_is_switched_off_and_said() {
    let plain: Value = serde_json::from_str(&trained()).unwrap();
    let text = text(7, 500);
    let load =
        |json: &Value| Tokenizer::from_json(json.to_string(), Path::new("t.json"), EOD).unwrap();
    let want = load(&plain).encode(&text).unwrap();
    for (dropout, said) in [
        (json!(null), 0),
        (json!(0.0), 0),
        (json!(0.1), 1),
        (json!(0.5), 1),
        (json!(1.0), 1),
    ] {
        let mut json = plain.clone();
        json["model"]["dropout"] = dropout.clone();
        let tokenizer = load(&json);
        assert_eq!(tokenizer.json(), json.to_string());
        for _ in 0..3 {
            assert_eq!(tokenizer.encode(&text).unwrap(), want, "{dropout}");
        }
        let remarks = tokenizer.remarks();
        assert_eq!(remarks.len(), said, "{dropout}: {remarks:?}");
        assert!(
            remarks
                .iter()
                .all(|r| r.contains("dropout") && r.contains("t.json"))
        );
    }
    // Also where a word is encoded without the end-of-document token.
    let mut json = plain;
    json["model"] = bpe(&["endoftext"], "", "", true);
    json["model"]["dropout"] = 0.9.into();
    json["added_tokens"] = json!([]);
    let tokenizer =
        Tokenizer::from_json(json.to_string(), Path::new("t.json"), "endoftext").unwrap();
    let once = tokenizer.encode("endoftext endoftext").unwrap();
    assert!((0..20).all(|_| tokenizer.encode("endoftext endoftext").unwrap() == once));
}

#[test]
fn bytes_are_decoded_as_bytes() {
    let plain: Value = serde_json::from_str(&trained()).unwrap();
    let text = "naïve 東京\n  the norm <|endoftext|>";
    for (name, decoder, said) in [
        ("bytes", plain["decoder"].clone(), 0),
        (
            "in a sequence",
            json!({"type": "Sequence", "decoders": [plain["decoder"], {"type": "Fuse"}]}),
            0,
        ),
        ("none", Value::Null, 1),
        ("of another kind", json!({"type": "Fuse"}), 1),
        (
            "of words",
            json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
            1,
        ),
    ] {
        let mut json = plain.clone();
        json["decoder"] = decoder;
        let tokenizer = Tokenizer::from_json(json.to_string(), Path::new("t.json"), EOD).unwrap();
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name}");
        assert_eq!(tokenizer.remarks().len(), said, "{name}");
    }
    // Tokens that aren't bytes are left to their file.
    let tokenizer = words(&[], "<unk>").to_string();
    let tokenizer = Tokenizer::from_json(tokenizer, Path::new("t.json"), EOD).unwrap();
    assert_eq!(
        tokenizer
            .decode(&tokenizer.encode("the norm").unwrap())
            .unwrap(),
        "the norm"
    );
    assert!(tokenizer.remarks().is_empty());
}
