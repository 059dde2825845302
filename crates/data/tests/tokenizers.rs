//! Tokenizers in the shapes of GPT-2's and GPT-NeoX's, and the trained one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::prose;
use evenburn_data::{DataError, Tokenizer, train_bpe};
use serde_json::{Value, json};

const EOD: &str = "<|endoftext|>";

fn train(texts: &[String], vocab: usize) -> Tokenizer {
    train_bpe(texts.iter().cloned().map(Ok), vocab, EOD).unwrap()
}

fn some_texts() -> Vec<String> {
    (0..50)
        .map(|i| format!("{}\n\n    indented {i}\tÉcole 東京", prose(i, 60)))
        .collect()
}

fn load(json: &Value) -> Tokenizer {
    Tokenizer::from_json(json.to_string(), Path::new("t.json"), EOD).unwrap()
}

/// A trained tokenizer with GPT-NeoX's additions: NFC, and runs of spaces as added tokens that are
/// matched after normalization.
fn neox_like() -> Tokenizer {
    let mut json: Value = serde_json::from_str(train(&some_texts(), 400).json()).unwrap();
    let first = train(&some_texts(), 400).vocab_size();
    json["normalizer"] = json!({"type": "NFC"});
    for (i, spaces) in [4, 3, 2].into_iter().enumerate() {
        json["added_tokens"].as_array_mut().unwrap().push(json!({
            "id": first + i, "content": " ".repeat(spaces), "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": true, "special": false
        }));
    }
    load(&json)
}

#[test]
fn byte_level_round_trips_any_text() {
    let tokenizer = train(&some_texts(), 300);
    for text in [
        "",
        " lead",
        "a\r\nb\u{2028}c\u{0}",
        "naïve 東京 \u{1F600}",
        "e\u{301}",
        "\t\t  x",
    ] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        // No space is put in front: the first token is not that of " word".
        assert!(ids.iter().all(|id| *id != tokenizer.eod()));
    }
    assert_ne!(
        tokenizer.encode("the").unwrap(),
        tokenizer.encode(" the").unwrap()
    );
}

#[test]
fn nfc_composes_before_encoding() {
    let neox = neox_like();
    assert_eq!(
        neox.encode("e\u{301}t").unwrap(),
        neox.encode("ét").unwrap()
    );
    let gpt2 = train(&some_texts(), 400);
    assert_ne!(
        gpt2.encode("e\u{301}t").unwrap(),
        gpt2.encode("ét").unwrap()
    );
    assert_eq!(neox.decode(&neox.encode("e\u{301}").unwrap()).unwrap(), "é");
}

#[test]
fn whitespace_runs_are_matched_as_added_tokens() {
    let neox = neox_like();
    let base = neox.vocab_size() as u32 - 3;
    let ids = neox.encode("if x:\n       y").unwrap();
    // Seven spaces: the run of four, then that of three, and no space left for the word.
    let at = ids.iter().position(|id| *id == base).unwrap();
    assert_eq!(ids[at..at + 2], [base, base + 1]);
    assert_eq!(neox.encode("y").unwrap(), ids[at + 2..]);
    assert_eq!(neox.decode(&ids).unwrap(), "if x:\n       y");
    // A single space still belongs to its word.
    assert!(neox.encode("x y").unwrap().iter().all(|id| *id < base));
}

#[test]
fn long_documents_are_encoded_in_pieces_with_the_same_ids() {
    for tokenizer in [neox_like(), train(&some_texts(), 400)] {
        let parts: Vec<_> = (0..270)
            .map(|i| format!("{}\n\n     e\u{301} {i}\n", prose(i, 500)))
            .collect();
        let text = parts.concat();
        assert!(text.len() > 1 << 19);
        let whole = tokenizer.inner().encode_fast(&*text, false).unwrap();
        assert!(tokenizer.encode(&text).unwrap() == whole.get_ids());
    }
}

#[test]
fn text_never_becomes_a_special_token() {
    let tokenizer = train(&some_texts(), 300);
    let text = "before <|endoftext|> after";
    let ids = tokenizer.encode(text).unwrap();
    assert!(!ids.contains(&tokenizer.eod()));
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn truncation_and_padding_of_the_file_are_ignored() {
    let mut json: Value = serde_json::from_str(train(&some_texts(), 300).json()).unwrap();
    json["truncation"] =
        json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": EOD});
    let tokenizer = load(&json);
    let text = prose(1, 20);
    let ids = tokenizer.encode(&text).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn training_depends_on_the_text_alone() {
    let texts = some_texts();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| train(&texts, 500))
    };
    let one = on(1);
    for threads in [1, 2, 5] {
        assert_eq!(on(threads).json(), one.json());
    }
    assert!(one.vocab_size() > 300);
    assert_eq!((one.eod(), one.eod_token()), (0, EOD));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    one.save(&path).unwrap();
    assert_eq!(
        Tokenizer::from_file(&path, EOD).unwrap().sha256(),
        one.sha256()
    );
}

#[test]
fn training_passes_the_documents_errors_on() {
    let texts = [Ok("fine".to_owned()), Err(DataError::Interrupted)];
    assert!(matches!(
        train_bpe(texts.into_iter(), 300, EOD),
        Err(DataError::Interrupted)
    ));
    assert!(matches!(
        train_bpe([].into_iter(), 256, EOD),
        Err(DataError::Config { .. })
    ));
    assert_eq!(
        train_bpe([].into_iter(), 300, EOD).unwrap().vocab_size(),
        257
    );
}

#[test]
fn errors_name_the_file_the_numbers_and_the_choices() {
    let tokenizer = train(&some_texts(), 300);
    tokenizer.check_vocab(tokenizer.vocab_size()).unwrap();
    let error = tokenizer.check_vocab(64).unwrap_err().to_string();
    assert!(
        error.contains(&tokenizer.vocab_size().to_string()) && error.contains("64"),
        "{error}"
    );

    let error = Tokenizer::from_json(neox_like().json().into(), Path::new("dir/t.json"), "</s>")
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("dir/t.json")
            && message.contains("`</s>`")
            && message.contains("`<|endoftext|>`"),
        "{message}"
    );

    let error = Tokenizer::from_json("{}".into(), Path::new("dir/t.json"), EOD).unwrap_err();
    assert!(error.to_string().contains("dir/t.json"), "{error}");
    assert!(matches!(
        Tokenizer::from_file(Path::new("no/t.json"), EOD),
        Err(DataError::Missing { .. })
    ));
}
