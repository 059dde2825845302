//! Tokenizers of many kinds as `tokenizer.json` has them, and texts to try them on.

#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::{Map, Value, json};

pub(crate) const EOD: &str = "<|endoftext|>";

/// Of Llama 3 and GPT-4.
pub(crate) const GPT4: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What [`text`] is made of: what stands at the end of a line or next to one, in many ways.
const PARTS: [&str; 44] = [
    "the",
    "norm",
    "of",
    "a",
    "Vector",
    "is",
    "never",
    "larger",
    "than",
    "its",
    "naïve",
    "42",
    "7",
    "1234",
    "x",
    "'s",
    "don't",
    "\n",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\n\n",
    "\n\n\n",
    " ",
    " ",
    " ",
    " ",
    "  ",
    "     ",
    "\t",
    " \n",
    "\n ",
    ".",
    "!?",
    "_",
    "e\u{301}",
    "x\u{345}",
    "n\u{303}o",
    "東京",
    "\u{1F600}",
    "ﬁ½",
    "\u{a0}",
    "İ\u{2028}",
];

/// A text of so many parts, the same for the same seed.
pub(crate) fn text(seed: u64, parts: usize) -> String {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        PARTS[(state >> 33) as usize % PARTS.len()]
    };
    (0..parts).map(|_| next()).collect()
}

pub(crate) fn special(id: usize, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true})
}

/// An added token that text is searched for.
pub(crate) fn added(id: usize, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": true, "special": false})
}

/// A file of these parts, whose first entry is the end-of-document token.
fn file(normalizer: &Value, pre_tokenizer: &Value, decoder: &Value, model: &Value) -> Value {
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [special(0, EOD)],
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
        "decoder": decoder, "model": model})
}

/// ASCII letters, digits and some marks, each an entry.
fn characters() -> impl Iterator<Item = String> {
    let ascii = (33u8..127).map(char::from);
    ascii.chain(['é', 'ï', 'ñ', '東']).map(String::from)
}

/// Words that become one entry, built up letter by letter by merges.
const WORDS: [&str; 8] = [
    "the", "norm", "of", "Vector", "is", "never", "larger", "than",
];

/// A model of merges whose words begin with `▁` and which spells the rest in characters and bytes.
pub(crate) fn bpe(words: &[&str], first: &str, last: &str, byte_fallback: bool) -> Value {
    let mut vocab = Map::new();
    let mut merges = Vec::new();
    let mut add = |token: &str| {
        let id = vocab.len();
        vocab.entry(token).or_insert(id.into());
    };
    add(EOD);
    add("<unk>");
    if byte_fallback {
        (0..256).for_each(|byte| add(&format!("<0x{byte:02X}>")));
    }
    add("▁");
    for character in characters() {
        add(&character);
        if !last.is_empty() {
            add(&format!("{character}{last}"));
        }
    }
    for word in words {
        let mut symbols: Vec<String> = first
            .chars()
            .chain(word.chars())
            .map(String::from)
            .collect();
        if let Some(end) = symbols.last_mut() {
            end.push_str(last);
        }
        let mut symbols = symbols.into_iter();
        let mut token = symbols.next().unwrap_or_default();
        for symbol in symbols {
            let merge = json!([token, symbol]);
            token.push_str(&symbol);
            add(&token);
            if !merges.contains(&merge) {
                merges.push(merge);
            }
        }
    }
    let suffix = if last.is_empty() {
        Value::Null
    } else {
        last.into()
    };
    json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": suffix, "fuse_unk": true, "byte_fallback": byte_fallback,
        "ignore_merges": false, "vocab": vocab, "merges": merges})
}

pub(crate) fn unigram(pieces: &[&str]) -> Value {
    let mut vocab = vec![json!([EOD, 0.0]), json!(["<unk>", 0.0]), json!(["▁", -3.0])];
    vocab.extend(characters().map(|c| json!([c, -6.0])));
    vocab.extend(WORDS.iter().map(|word| json!([format!("▁{word}"), -5.0])));
    vocab.extend(pieces.iter().map(|piece| json!([piece, -1.0])));
    json!({"type": "Unigram", "unk_id": 1, "vocab": vocab, "byte_fallback": false})
}

pub(crate) fn word_piece(words: &[&str]) -> Value {
    let mut vocab = Map::new();
    let tokens = [EOD, "[UNK]"].map(String::from).into_iter();
    let words = WORDS
        .iter()
        .chain(words)
        .flat_map(|w| [w.to_lowercase(), (*w).to_owned()]);
    let all = tokens.chain(words).chain(characters());
    for token in all.chain(characters().map(|c| format!("##{c}"))) {
        let id = vocab.len();
        vocab.entry(token).or_insert(id.into());
    }
    json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 20, "vocab": vocab})
}

pub(crate) fn word_level(words: &[&str], unknown: &str) -> Value {
    let mut vocab = Map::new();
    for word in [EOD, "<unk>"].iter().chain(&WORDS).chain(words) {
        let id = vocab.len();
        vocab.entry(*word).or_insert(id.into());
    }
    json!({"type": "WordLevel", "vocab": vocab, "unk_token": unknown})
}

fn metaspace(scheme: &str, split: bool) -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split})
}

fn byte_level(space: bool, regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": regex})
}

fn sequence(parts: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": parts})
}

fn split(regex: &str, behavior: &str, invert: bool) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert})
}

fn part(name: &str) -> Value {
    json!({"type": name})
}

pub(crate) fn llama(words: &[&str]) -> Value {
    let normalizers = [
        json!({"type": "Prepend", "prepend": "▁"}),
        json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
    ];
    let decoders = [
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        part("ByteFallback"),
        part("Fuse"),
        json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}),
    ];
    file(
        &json!({"type": "Sequence", "normalizers": normalizers}),
        &Value::Null,
        &json!({"type": "Sequence", "decoders": decoders}),
        &bpe(&[&WORDS, words].concat(), "▁", "", true),
    )
}

pub(crate) fn t5(pieces: &[&str]) -> Value {
    let spaces = metaspace("always", true);
    file(&Value::Null, &spaces, &spaces, &unigram(pieces))
}

pub(crate) fn bert(words: &[&str]) -> Value {
    let normalizer = json!({"type": "BertNormalizer", "clean_text": true,
        "handle_chinese_chars": true, "strip_accents": null, "lowercase": true});
    let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": false});
    file(
        &normalizer,
        &part("BertPreTokenizer"),
        &decoder,
        &word_piece(words),
    )
}

pub(crate) fn words(more: &[&str], unknown: &str) -> Value {
    file(
        &Value::Null,
        &part("Whitespace"),
        &Value::Null,
        &word_level(more, unknown),
    )
}

/// A tokenizer of some kind.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) json: Value,
    /// Whether its long texts are cut.
    pub(crate) cuts: bool,
    /// Whether a table says how many bytes its tokens stand for.
    pub(crate) table: bool,
}

impl Kind {
    fn new(name: &'static str, cuts: bool, table: bool, json: Value) -> Self {
        Self {
            name,
            json,
            cuts,
            table,
        }
    }
}

/// Tokenizers of every kind. `trained` is the file of a byte-level one, whose end-of-document token
/// is [`EOD`].
pub(crate) fn kinds(trained: &str) -> Vec<Kind> {
    let trained: Value = serde_json::from_str(trained).unwrap_or_default();
    let mut kinds = of_words(&trained);
    kinds.extend(around_words(&trained));
    kinds.extend(of_characters());
    kinds
}

/// The byte-level `trained` with parts exchanged.
fn changed(trained: &Value, changes: &[(&str, Value)]) -> Value {
    let mut json = trained.clone();
    for (key, value) in changes {
        json[*key] = value.clone();
    }
    json
}

/// Byte-level words by a regular expression.
fn cut_by(regex: &str, behavior: &str, invert: bool) -> (&'static str, Value) {
    let parts = [split(regex, behavior, invert), byte_level(false, false)];
    ("pre_tokenizer", sequence(&parts))
}

/// Byte-level tokenizers that differ in their words.
fn of_words(trained: &Value) -> Vec<Kind> {
    let with = |changes: &[(&str, Value)]| changed(trained, changes);
    let digits = json!({"type": "Digits", "individual_digits": true});
    let digits = sequence(&[digits, byte_level(false, true)]);
    let digits = with(&[("pre_tokenizer", digits)]);
    let space = with(&[("pre_tokenizer", byte_level(true, true))]);
    let none = with(&[("pre_tokenizer", byte_level(false, false))]);
    let breaks = with(&[cut_by(r"\w+\n?", "Isolated", false)]);
    let letters = with(&[cut_by("[a-z]+", "Removed", true)]);
    let gpt4 = with(&[cut_by(GPT4, "Isolated", false)]);
    let gpt4o = with(&[cut_by(GPT4O, "Removed", true)]);
    let tekken = with(&[cut_by(TEKKEN, "Isolated", false)]);
    vec![
        Kind::new("GPT-2", true, true, trained.clone()),
        Kind::new("Llama 3", true, true, gpt4),
        Kind::new("GPT-4o", true, true, gpt4o),
        Kind::new("Tekken", true, true, tekken),
        Kind::new("StarCoder", true, true, digits),
        Kind::new("a space in front", false, false, space),
        Kind::new("no words", false, true, none),
        Kind::new("words with their break", false, true, breaks),
        Kind::new("letters alone", false, false, letters),
    ]
}

/// Byte-level tokenizers that differ in what comes before the words.
fn around_words(trained: &Value) -> Vec<Kind> {
    let with = |changes: &[(&str, Value)]| changed(trained, changes);
    let next = trained["model"]["vocab"].as_object().map_or(0, Map::len);
    let adding = |tokens: &[Value]| {
        let mut all = vec![special(0, EOD)];
        all.extend_from_slice(tokens);
        ("added_tokens", Value::from(all))
    };
    let spaces = (2..5).map(|n| added(next + n - 2, &" ".repeat(n)));
    let spaces: Vec<_> = spaces.collect();
    let mut rstrip = added(next, "norm");
    rstrip["rstrip"] = true.into();
    let breaks = [added(next, "a\n"), added(next + 1, "\n\n")];
    let nfc = ("normalizer", part("NFC"));
    let accents = json!({"type": "Sequence",
        "normalizers": [part("NFD"), part("Lowercase"), part("StripAccents")]});
    let strip = json!({"type": "Strip", "strip_left": true, "strip_right": true});
    let qwen = with(&[nfc.clone(), cut_by(QWEN, "Isolated", false)]);
    let neox = with(&[nfc, adding(&spaces)]);
    let accents = with(&[("normalizer", accents)]);
    let strip = with(&[("normalizer", strip)]);
    vec![
        Kind::new("Qwen", true, false, qwen),
        Kind::new("GPT-NeoX", true, false, neox),
        Kind::new("accents stripped", true, false, accents),
        Kind::new("stripped", false, false, strip),
        Kind::new("breaks added", false, true, with(&[adding(&breaks)])),
        Kind::new("spaces eaten", false, false, with(&[adding(&[rstrip])])),
    ]
}

/// Tokenizers whose tokens are characters, not bytes.
fn of_characters() -> Vec<Kind> {
    let mut first = llama(&[]);
    first["normalizer"] = Value::Null;
    first["pre_tokenizer"] = metaspace("first", false);
    let spaced = |scheme: &str| {
        let mut json = t5(&[]);
        json["pre_tokenizer"] = sequence(&[part("WhitespaceSplit"), metaspace(scheme, true)]);
        json
    };
    let mut phrase = bert(&[]);
    phrase["added_tokens"] = json!([special(0, EOD), added(500, "of a")]);
    let suffixed = bpe(&WORDS, "", "</w>", false);
    let decoder = json!({"type": "BPEDecoder", "suffix": "</w>"});
    let ends = file(&Value::Null, &part("Whitespace"), &decoder, &suffixed);
    let clip = json!({"type": "Sequence", "normalizers": [
        part("NFC"),
        json!({"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}),
        part("Lowercase")]});
    let bytes = sequence(&[
        split(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", "Removed", true),
        byte_level(false, false),
    ]);
    let clip = file(&clip, &bytes, &byte_level(false, true), &suffixed);
    vec![
        Kind::new("Llama 2", false, false, llama(&[])),
        Kind::new("Llama 2, newer", false, false, first),
        Kind::new("T5", false, false, t5(&[])),
        Kind::new("words, then spaces", true, false, spaced("always")),
        Kind::new("words, then one space", false, false, spaced("first")),
        Kind::new("BERT", true, false, bert(&[])),
        Kind::new("BERT with a phrase", false, false, phrase),
        Kind::new("words", true, false, words(&[], "<unk>")),
        Kind::new("ends of words", true, false, ends),
        Kind::new("CLIP", false, false, clip),
    ]
}
