//! No text becomes the end-of-document token, whatever the model and however the token is marked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::str::FromStr;

use common::kinds::{EOD, added, bert, bpe, kinds, llama, t5, text, word_level, words};
use evenburn_data::megatron::Index;
use evenburn_data::{DataConfig, DataError, Tokenizer, prepare, train_bpe};
use serde_json::{Value, json};

fn trained() -> Value {
    let texts = (0..40).map(|seed| Ok(text(seed, 400)));
    serde_json::from_str(train_bpe(texts, 500, EOD).unwrap().json()).unwrap()
}

fn load(json: &Value, eod: &str) -> Tokenizer {
    Tokenizer::from_json(json.to_string(), Path::new("t.json"), eod).unwrap()
}

fn crates_ids(json: &Value, text: &str) -> Vec<u32> {
    let mut tokenizer = tokenizers::Tokenizer::from_str(&json.to_string()).unwrap();
    tokenizer.set_encode_special_tokens(true);
    tokenizer
        .encode_fast(text, false)
        .unwrap()
        .get_ids()
        .to_vec()
}

/// A file without added tokens.
fn bare(mut json: Value) -> Value {
    json["added_tokens"] = json!([]);
    json
}

/// A byte-level file whose model has `word` as one entry, with merges that make it or without.
fn knowing(word: &str, merges: bool) -> Value {
    let mut json = bare(trained());
    let next = json["model"]["vocab"].as_object().unwrap().len();
    let mut made = String::new();
    for (i, letter) in word.chars().enumerate() {
        if merges && i > 0 {
            let merge = json!([made, letter.to_string()]);
            json["model"]["merges"]
                .as_array_mut()
                .unwrap()
                .insert(i - 1, merge);
        }
        made.push(letter);
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        if merges || made == word {
            let id = vocab.len().max(next);
            vocab.entry(made.clone()).or_insert(id.into());
        }
    }
    json["model"]["ignore_merges"] = (!merges).into();
    json
}

/// Files whose text would become the token, the token, and whether decoding gives the text back.
fn variants() -> Vec<(&'static str, Value, &'static str, bool)> {
    let gpt2 = trained();
    let marked = |special: bool, normalized: bool, lstrip: bool| {
        let mut json = gpt2.clone();
        json["added_tokens"][0]["special"] = special.into();
        json["added_tokens"][0]["normalized"] = normalized.into();
        json["added_tokens"][0]["lstrip"] = lstrip.into();
        json
    };
    let mut strings = knowing("endoftext", true);
    for merge in strings["model"]["merges"].as_array_mut().unwrap() {
        *merge = format!(
            "{} {}",
            merge[0].as_str().unwrap(),
            merge[1].as_str().unwrap()
        )
        .into();
    }
    let mut beside = t5(&["</s>"]);
    beside["added_tokens"] = json!([added(1, "<unk>")]);
    let mut suffixed = words(&[], "<unk>");
    suffixed["decoder"] = json!({"type": "BPEDecoder", "suffix": "</w>"});
    suffixed["model"] = bpe(&["endoftext"], "", "</w>", false);
    let mut spaced = words(&[], "<unk>");
    spaced["pre_tokenizer"] = json!({"type": "WhitespaceSplit"});
    let mut unlike = marked(false, true, false);
    unlike["normalizer"] = json!({"type": "Lowercase"});
    vec![
        ("added, not special", marked(false, false, false), EOD, true),
        (
            "added, not special, normalized",
            marked(false, true, false),
            EOD,
            true,
        ),
        (
            "added, not special, eats spaces",
            marked(false, false, true),
            EOD,
            true,
        ),
        ("added, written otherwise", unlike, EOD, true),
        ("special", marked(true, false, false), EOD, true),
        ("merges", knowing("endoftext", true), "endoftext", true),
        ("merges as strings", strings, "endoftext", true),
        (
            "a word of a model that takes words whole",
            knowing("endoftext", false),
            "endoftext",
            true,
        ),
        (
            "merges without words",
            bare(llama(&["</s>"])),
            "▁</s>",
            true,
        ),
        ("a character, bytes instead", bare(llama(&[])), "|", true),
        ("a byte", bare(llama(&[])), "<0x0A>", false),
        ("a Unigram's piece", bare(t5(&["</s>"])), "</s>", true),
        ("a Unigram's piece beside others", beside, "</s>", true),
        (
            "a Unigram's word",
            bare(t5(&["▁<|endoftext|>"])),
            "▁<|endoftext|>",
            true,
        ),
        ("a WordPiece", bare(bert(&["endoftext"])), "endoftext", true),
        (
            "a part of a word",
            bare(bert(&["##oftext"])),
            "##oftext",
            true,
        ),
        ("a word", words(&["endoftext"], "<unk>"), "endoftext", false),
        ("special, and a piece", t5(&[]), EOD, true),
        ("special, and a word", spaced, EOD, false),
        ("the end of a word", bare(suffixed), "endoftext</w>", true),
    ]
}

#[test]
fn text_never_becomes_the_end_of_document_token() {
    let with = "A page says that <|endoftext|> ends a document. endoftext </s> </s>the norm, the norm </s>";
    let others = (300..310).map(|seed| text(seed, 200));
    let others: Vec<String> = others.map(|t| t.replace("endoftext", "")).collect();
    for (name, json, eod, reads) in variants() {
        let tokenizer = load(&json, eod);
        assert_eq!(tokenizer.json(), json.to_string());
        let ids = tokenizer.encode(with).unwrap();
        assert!(!ids.contains(&tokenizer.eod()), "{name}");
        if reads {
            let squeeze = |text: &str| text.to_lowercase().replace(char::is_whitespace, "");
            let text = tokenizer.decode(&ids).unwrap();
            assert_eq!(squeeze(&text), squeeze(with), "{name}");
        }
        // All other text has the ids that it always had.
        let mut same = 0;
        for other in &others {
            let want = crates_ids(&json, other);
            if !want.contains(&tokenizer.eod()) {
                assert_eq!(tokenizer.encode(other).unwrap(), want, "{name}");
                same += 1;
            }
        }
        assert!(same > 0 || name == "a byte", "{name}");
    }
}

#[test]
fn only_what_would_become_the_token_is_encoded_otherwise() {
    // The Llama has no words, so the whole text is encoded at once; `the` is a part of `then`.
    let json = bare(llama(&["then"]));
    let tokenizer = load(&json, "▁the");
    let name = |ids: &[u32]| -> Vec<String> {
        let token = |id: &u32| tokenizer.inner().id_to_token(*id).unwrap();
        ids.iter().map(token).collect()
    };
    let ids = tokenizer.encode("then the then").unwrap();
    assert_eq!(name(&ids), ["▁then", "▁th", "e", "▁then"]);
    // And a kind of each model keeps the words around it.
    for kind in kinds(&trained().to_string()) {
        let json = kind.json;
        let tokenizer = load(&json, EOD);
        let text = "never larger than the norm";
        assert_eq!(
            tokenizer.encode(text).unwrap(),
            crates_ids(&json, text),
            "{}",
            kind.name
        );
    }
}

#[test]
fn a_token_that_stands_for_text_is_refused_where_it_would() {
    let mut unigram = bare(t5(&[]));
    unigram["model"]["unk_id"] = 0.into();
    let mut bytes = bare(trained());
    bytes["pre_tokenizer"]["use_regex"] = true.into();
    for (name, json, eod, fine, bad) in [
        (
            "the unknown word",
            words(&[], EOD),
            EOD,
            "the norm",
            "the moon",
        ),
        (
            "the unknown piece",
            unigram,
            EOD,
            "the norm",
            "the \u{1F600}",
        ),
        (
            "the unknown WordPiece",
            bare(bert(&[])),
            "[UNK]",
            "the norm",
            "the \u{1F600}",
        ),
        (
            "the only word for it",
            json!({"model": word_level(&[], "<no>"), "pre_tokenizer": {"type": "Whitespace"}}),
            "norm",
            "the",
            "the norm",
        ),
        ("the only byte for it", bytes, "!", "the norm.", "the norm!"),
    ] {
        let tokenizer = load(&json, eod);
        assert!(
            !tokenizer.encode(fine).unwrap().contains(&tokenizer.eod()),
            "{name}"
        );
        let error = tokenizer.encode(bad).unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(error, DataError::Tokenizer { .. }),
            "{name}: {message}"
        );
        for part in ["t.json", eod, "data.eod_token"] {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}

#[test]
fn a_document_has_one_end() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (name, json, eod, _)) in variants().into_iter().enumerate() {
        let tokenizer = dir.path().join(format!("{i}.json"));
        fs::write(&tokenizer, json.to_string()).unwrap();
        let data = dir.path().join("data.jsonl");
        let lines = ["one <|endoftext|> </s>", "endoftext", "| three"];
        let lines = lines.map(|text| json!({ "text": text }).to_string());
        fs::write(&data, lines.join("\n")).unwrap();
        let config = DataConfig {
            path: data.to_str().unwrap().into(),
            tokenizer: tokenizer.to_str().unwrap().into(),
            eod_token: eod.into(),
            validation_fraction: 0.0,
            ..DataConfig::default()
        };
        let corpus = prepare(&config, &dir.path().join("cache"), &()).unwrap();
        let stem = corpus.folder.join(&corpus.manifest.shards[0].name);
        let index = Index::read(&stem).unwrap();
        let ids = index.token_type.width();
        let ids = fs::read(stem.with_extension("bin")).unwrap().len() / ids;
        let batch = corpus
            .train
            .batches(ids - 1, 1, None)
            .unwrap()
            .next()
            .unwrap();
        let targets = batch.unwrap().targets;
        let ends = targets
            .iter()
            .filter(|id| **id == corpus.tokenizer.eod() as i32);
        assert_eq!((ends.count(), index.lengths.len()), (3, 3), "{name}");
    }
}
