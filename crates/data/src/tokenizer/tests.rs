//! Every kind of tokenizer, in pieces far smaller than those of real use.

use std::path::Path;
use std::str::FromStr;
use std::sync::LazyLock;

use serde_json::Value;

use proptest::prelude::*;

use super::*;
use crate::byte_level::texts;
use crate::token_bytes::Tokens;
use kinds::{EOD, Kind, kinds};

#[path = "../../tests/common/kinds.rs"]
mod kinds;

fn all() -> Vec<(Kind, Tokenizer)> {
    let texts = (0..40).map(|seed| Ok(kinds::text(seed, 400)));
    let trained = Tokenizer::train(texts, 500, EOD).unwrap();
    let load = |kind: Kind| {
        let json = kind.json.to_string();
        let tokenizer = Tokenizer::from_json(json, Path::new(kind.name), EOD);
        (kind, tokenizer.unwrap())
    };
    kinds(trained.json()).into_iter().map(load).collect()
}

/// The ids of the uncut text by the crate itself.
fn whole(json: &Value, text: &str) -> Vec<u32> {
    let mut tokenizer = tokenizers::Tokenizer::from_str(&json.to_string()).unwrap();
    tokenizer.set_encode_special_tokens(true);
    tokenizer
        .encode_fast(text, false)
        .unwrap()
        .get_ids()
        .to_vec()
}

/// A document's tokens, encoded in pieces.
fn document(tokenizer: &Tokenizer, text: &str, target: usize) -> Tokens {
    let mut tokens = tokenizer.begin();
    for piece in tokenizer.pieces(text, target) {
        tokens.append(tokenizer.encode_piece(piece).unwrap());
    }
    tokens.push(tokenizer.eod());
    tokens
}

#[test]
fn pieces_have_the_ids_of_the_uncut_text() {
    for (kind, tokenizer) in all() {
        let Kind {
            name, json, cuts, ..
        } = kind;
        let mut pieces = 0;
        for seed in 100..130 {
            let text = kinds::text(seed, 300);
            let mut want = whole(&json, &text);
            want.push(tokenizer.eod());
            for target in [1, 23, 200] {
                pieces += tokenizer.pieces(&text, target).len();
                let got = document(&tokenizer, &text, target).ids;
                assert_eq!(got, want, "{name}, seed {seed}, target {target}");
            }
        }
        assert_eq!(pieces > 90, cuts, "{name}: {pieces} pieces of 90 texts");
    }
}

#[test]
fn bytes_of_a_documents_tokens_sum_to_its_text() {
    for (Kind { name, table, .. }, tokenizer) in all() {
        assert_eq!(tokenizer.token_bytes().is_some(), table, "{name}");
        for text in [
            "",
            "\n",
            "   ",
            &"x".repeat(700),
            "the norm  \n",
            " \u{301}a\u{301} ",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain((200..210).map(|seed| kinds::text(seed, 300)))
        {
            for target in [1, 60, 10_000] {
                let tokens = document(&tokenizer, &text, target);
                let bytes = tokens.bytes.unwrap_or_else(|| {
                    let table = tokenizer.token_bytes().unwrap();
                    tokens.ids.iter().map(|id| table[*id as usize]).collect()
                });
                assert_eq!(bytes.len(), tokens.ids.len());
                let sum: u32 = bytes.iter().sum();
                assert_eq!(sum as usize, text.len(), "{name}: {text:?}");
            }
        }
    }
}

#[test]
fn a_token_has_the_bytes_up_to_its_end() {
    let kinds = all();
    for (name, text, tokens, bytes) in [
        // What was put in front shares the bytes of the character after it.
        ("Llama 2", "the norm", "▁the ▁norm", vec![3, 5, 0]),
        // Several tokens of one character: it is the first's.
        (
            "Llama 2",
            "京\n",
            "▁ <0xE4> <0xBA> <0xAC> <0x0A>",
            vec![3, 0, 0, 0, 1, 0],
        ),
        ("T5", "the  norm", "▁the ▁ ▁norm", vec![3, 1, 5, 0]),
        // What is dropped belongs to the token after it.
        ("BERT", "  The NORM\n\nÉ \n", "the norm e", vec![5, 5, 4, 2]),
        (
            "BERT",
            "qqqqqqqqqqqqqqqqqqqqqqqqqq is",
            "[UNK] is",
            vec![26, 3, 0],
        ),
        (
            "words",
            "norm of\tnothing ",
            "norm of <unk>",
            vec![4, 3, 8, 1],
        ),
        ("ends of words", "of  is", "of</w> is</w>", vec![2, 4, 0]),
        ("accents stripped", "Å\u{301} of", "a Ġof", vec![2, 5, 0]),
    ] {
        let (_, tokenizer) = kinds.iter().find(|(kind, _)| kind.name == name).unwrap();
        let found = document(tokenizer, text, 100);
        let token = |id: &u32| tokenizer.inner.id_to_token(*id).unwrap();
        let names: Vec<_> = found.ids.iter().map(token).collect();
        assert_eq!(
            names.join(" "),
            format!("{tokens} {EOD}"),
            "{name}: {text:?}"
        );
        assert_eq!(found.bytes.unwrap(), bytes, "{name}: {text:?}");
    }
}

/// Those of the kinds whose every part the fast way knows.
const FAST: [&str; 7] = [
    "GPT-2",
    "Llama 3",
    "GPT-4o",
    "Tekken",
    "Qwen",
    "GPT-NeoX",
    "breaks added",
];

#[test]
fn the_fast_way_is_taken_where_every_part_is_known() {
    for (Kind { name, .. }, tokenizer) in all() {
        assert_eq!(tokenizer.is_fast(), FAST.contains(&name), "{name}");
    }
}

#[test]
fn what_is_not_known_is_left_to_the_crate() {
    let texts = (0..40).map(|seed| Ok(kinds::text(seed, 400)));
    let trained = Tokenizer::train(texts, 500, EOD).unwrap();
    let is_fast = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_str(trained.json()).unwrap();
        change(&mut json);
        let tokenizer = Tokenizer::from_json(json.to_string(), Path::new("t.json"), EOD);
        tokenizer.unwrap().is_fast()
    };
    let next = trained.vocab_size();
    let adding = |change: fn(&mut Value)| {
        is_fast(&move |json: &mut Value| {
            let mut token = kinds::added(next, "norm of");
            change(&mut token);
            json["added_tokens"].as_array_mut().unwrap().push(token);
        })
    };
    assert!(is_fast(&|_| ()));
    assert!(is_fast(&|json| json["model"]["ignore_merges"] = true.into()));
    let without = |character: char| {
        is_fast(&move |json: &mut Value| {
            let vocab = json["model"]["vocab"].as_object_mut().unwrap();
            assert!(vocab.remove(&character.to_string()).is_some());
        })
    };
    // The byte C0, which no text has, and 01, which it may.
    assert!(without('À') && !without('ā'));
    // Switched off when the file is loaded.
    assert!(is_fast(&|json| json["model"]["dropout"] = 0.5.into()));
    assert!(!is_fast(
        &|json| json["model"]["end_of_word_suffix"] = "</w>".into()
    ));
    assert!(!is_fast(
        &|json| json["normalizer"] = serde_json::json!({"type": "NFKC"})
    ));
    assert!(!is_fast(
        &|json| json["pre_tokenizer"]["add_prefix_space"] = true.into()
    ));
    assert!(adding(|_| ()));
    assert!(!adding(|token| token["lstrip"] = true.into()));
    assert!(!adding(|token| token["rstrip"] = true.into()));
    assert!(!adding(|token| token["single_word"] = true.into()));
    // The model's `é` is a byte, the added one two.
    assert!(!adding(|token| {
        token["content"] = "é".into();
        token["normalized"] = false.into();
    }));
    // Not in form C, which is what normalized text is in.
    let composing = |json: &mut Value| {
        json["normalizer"] = serde_json::json!({"type": "NFC"});
        let tokens = json["added_tokens"].as_array_mut().unwrap();
        tokens.push(kinds::added(next, "e\u{301}"));
    };
    assert!(!is_fast(&composing));
}

/// Adds tokens that reach into each other and into words, special ones among them.
fn with_added(json: &mut Value, next: usize) {
    let contents = [
        "  ",
        "    ",
        " the",
        "he\n",
        "<|x|>",
        "<|x",
        "x|>",
        "\t",
        "ïve",
        "\u{1F600}",
    ];
    for (place, content) in contents.into_iter().enumerate() {
        let mut token = kinds::added(next + place, content);
        token["normalized"] = (place % 3 != 0).into();
        token["special"] = (place % 4 == 0).into();
        json["added_tokens"].as_array_mut().unwrap().push(token);
    }
}

fn fast_ones() -> Vec<(&'static str, Tokenizer)> {
    let mut fast = Vec::new();
    for (Kind { name, mut json, .. }, tokenizer) in all() {
        if FAST.contains(&name) {
            with_added(&mut json, tokenizer.vocab_size());
            let added = Tokenizer::from_json(json.to_string(), Path::new(name), EOD).unwrap();
            json["model"]["ignore_merges"] = true.into();
            // An ordinary entry, which merges make.
            let begin = tokenizer.inner.id_to_token(300).unwrap();
            let whole = Tokenizer::from_json(json.to_string(), Path::new(name), EOD).unwrap();
            let whole = whole.with_bos(Some(&begin)).unwrap();
            fast.extend([tokenizer, added, whole].map(|tokenizer| (name, tokenizer)));
        }
    }
    fast
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn the_fast_way_has_the_crates_tokens(
        text in prop_oneof![
            texts::random(),
            (any::<u64>(), 1..300usize).prop_map(|(seed, parts)| kinds::text(seed, parts)),
            // Long words.
            "[a-z]{400,700}( +the  norm\n){0,3}",
        ],
        which in any::<proptest::sample::Index>(),
    ) {
        static ALL: LazyLock<Vec<(&str, Tokenizer)>> = LazyLock::new(fast_ones);
        let (name, tokenizer) = which.get(&ALL);
        prop_assert!(tokenizer.is_fast());
        let found = tokenizer.encode_piece(&text);
        match tokenizer.encode_by_crate(&text) {
            Ok(want) => {
                let ids = tokenizer.encode(&text).unwrap();
                prop_assert_eq!(&ids, &want.ids, "{}: {:?}", name, text);
                prop_assert_eq!(found.unwrap(), want, "{}: {:?}", name, text);
            }
            // Nothing else stands for a reserved byte.
            Err(_) => prop_assert!(found.is_err(), "{}: {:?}", name, text),
        }
    }
}
