//! Learning a tokenizer: from texts with and without endless words, heard and stopped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::kinds::{EOD, text};
use common::prose;
use evenburn_data::{
    DataConfig, DataError, Phase, ProgressState, open_storage, train_bpe, train_tokenizer,
};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

/// The file that the crate's own training gives.
fn reference(texts: &[String], vocab_size: usize) -> String {
    let bytes = || ByteLevel::new(false, false, true);
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(bytes()));
    tokenizer.with_decoder(Some(bytes()));
    let trainer = BpeTrainer::builder()
        .show_progress(false)
        .min_frequency(2)
        .vocab_size(vocab_size)
        .special_tokens(vec![AddedToken::from(EOD, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut trainer = TrainerWrapper::from(trainer);
    tokenizer.train(&mut trainer, texts.iter()).unwrap();
    tokenizer.to_string(false).unwrap()
}

#[test]
fn texts_without_endless_words_give_the_same_file() {
    let many = (0..60).map(|seed| text(seed, 300)).collect();
    let code = (0..60)
        .map(|i| format!("fn f{i}() {{\n        {}\n}}\n", prose(i, 40)))
        .collect();
    let rules = (1..60).map(|i| {
        format!(
            "{}\n{}\n{}",
            "=".repeat(i * 17),
            "é".repeat(500),
            " ".repeat(1000)
        )
    });
    for texts in [
        many,
        code,
        rules.collect::<Vec<_>>(),
        vec![],
        vec![String::new(), "\n".into()],
    ] {
        let got = train_bpe(texts.iter().cloned().map(Ok), 600, EOD).unwrap();
        assert_eq!(got.json(), reference(&texts, 600));
    }
}

/// A megabyte without a space, of `characters`.
fn endless(characters: &str) -> String {
    let characters: Vec<char> = characters.chars().collect();
    let mut state = 1u64;
    let mut text = String::new();
    while text.len() < 1 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push(characters[(state >> 33) as usize % characters.len()]);
    }
    text
}

#[test]
fn endless_words_are_learned_in_seconds() {
    let characters: String = ('\u{4E00}'..'\u{5200}').collect();
    for (name, characters) in [
        ("letters", "abcdefghijklmnopqrstuvwxyz"),
        (
            "base64",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        ),
        ("Chinese", &characters),
        ("digits", "0123456789"),
        ("one letter", "a"),
        ("spaces", " "),
        ("breaks", "\n"),
        ("marks", "-=*#"),
    ] {
        let begun = Instant::now();
        let tokenizer = train_bpe([Ok(endless(characters))].into_iter(), 400, EOD).unwrap();
        let took = begun.elapsed();
        // Uncut it is minutes; this is a bound for a machine that is busy with something else.
        assert!(took < Duration::from_secs(30), "{name}: {took:?}");
        let sample: String = characters.chars().cycle().take(5000).collect();
        let ids = tokenizer.encode(&sample).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), sample, "{name}");
    }
}

#[test]
fn merging_is_heard_and_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text.txt");
    fs::write(&path, endless("abcdefghijklmnopqrstuvwxyz")).unwrap();
    let config = DataConfig {
        path: path.to_str().unwrap().into(),
        tokenizer_vocab: 20_000,
        validation_fraction: 0.0,
        ..DataConfig::default()
    };
    let heard = AtomicU64::new(0);
    let listen = |state: &ProgressState| {
        if state.phase != Phase::Merging {
            return ControlFlow::Continue(());
        }
        assert_eq!((state.documents, state.bytes_done), (1, 1 << 20));
        match heard.fetch_add(1, Ordering::Relaxed) {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    };
    let begun = Instant::now();
    let storage = open_storage(&config, &dir.path().join("cache")).unwrap();
    let stopped = train_tokenizer(&config, &storage, &listen);
    assert!(matches!(stopped, Err(DataError::Interrupted)));
    assert_eq!(heard.load(Ordering::Relaxed), 2);
    assert!(begun.elapsed() < Duration::from_secs(20));
}
