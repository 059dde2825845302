//! How texts begin and end comes along with an imported model, is what it is evaluated and sampled with, and is written
//! as it was.

use crate::program::{sandbox, text};
use evenburn_tests::cli::Sandbox;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const SPECIAL: [&str; 6] = ["<unk>", "<s>", "</s>", "<pad>", "<eot>", "<x>"];

/// A tokenizer of whole words, as many as the stored peers have embeddings for.
fn tokenizer(post_processor: &Value) -> Value {
    let words = (SPECIAL.len()..61).map(|id| format!("w{id}"));
    let all = SPECIAL.map(str::to_owned).into_iter().chain(words);
    let vocabulary: BTreeMap<String, usize> = all.zip(0..).collect();
    let added = SPECIAL.iter().zip(0..).map(|(content, id)| {
        json!({
            "id": id, "content": content, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "post_processor": post_processor,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" },
    })
}

/// The post-processor that puts tokens around a text.
fn template(before: &[&str], after: &[&str]) -> Value {
    let special = |name: &&str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let mut single: Vec<Value> = before.iter().map(special).collect();
    single.push(text.clone());
    single.extend(after.iter().map(special));
    let id = |name: &str| SPECIAL.iter().position(|own| *own == name);
    let tokens: serde_json::Map<_, _> = before
        .iter()
        .chain(after)
        .map(|name| {
            let entry = json!({ "id": name, "ids": [id(name)], "tokens": [name] });
            ((*name).to_owned(), entry)
        })
        .collect();
    json!({ "type": "TemplateProcessing", "single": single, "pair": [text], "special_tokens": tokens })
}

/// A folder as it is found, and what is made of it.
struct Case {
    peer: &'static str,
    /// Keys of `config.json`; the stored peers have no special ids otherwise.
    config: Value,
    generation: Option<Value>,
    about: Option<Value>,
    template: Value,
    eod: &'static str,
    bos: Option<&'static str>,
    /// `bos_token_id`, `eos_token_id` and `pad_token_id` that are written.
    ids: [Value; 3],
}

impl Case {
    fn new(peer: &'static str, config: Value) -> Self {
        Self {
            peer,
            config,
            generation: None,
            about: None,
            template: Value::Null,
            eod: "</s>",
            bos: None,
            ids: [json!(1), json!(2), json!(null)],
        }
    }

    fn write(&self, folder: &Path) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/peers");
        let from = fixtures.join(self.peer);
        std::fs::create_dir(folder).unwrap();
        let weights = "model.safetensors";
        std::fs::copy(from.join(weights), folder.join(weights)).unwrap();
        let config = std::fs::read(from.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        let config = config.as_object_mut().unwrap();
        for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            config.remove(key);
        }
        config.extend(self.config.as_object().unwrap().clone());
        let put = |name: &str, value: &Value| {
            std::fs::write(folder.join(name), value.to_string()).unwrap();
        };
        put("config.json", &json!(config));
        put("tokenizer.json", &tokenizer(&self.template));
        let beside = [
            ("generation_config.json", &self.generation),
            ("tokenizer_config.json", &self.about),
        ];
        for (name, value) in beside {
            if let Some(value) = value {
                put(name, value);
            }
        }
        std::fs::write(folder.join("chat_template.jinja"), "{{ messages }}\n").unwrap();
    }
}

fn llama(config: Value) -> Case {
    Case::new("llama", config)
}

/// What configurations say of the end of a text.
fn ends() -> Vec<(&'static str, Case)> {
    vec![
        // Llama's own ids.
        ("nothing is said", llama(json!({}))),
        (
            "a number",
            Case {
                eod: "<eot>",
                ids: [json!(1), json!(4), json!(3)],
                ..llama(json!({ "eos_token_id": 4, "pad_token_id": 3 }))
            },
        ),
        (
            "a list",
            Case {
                eod: "<eot>",
                ids: [json!(5), json!([4, 2]), json!(null)],
                ..llama(json!({ "eos_token_id": [4, 2], "bos_token_id": 5 }))
            },
        ),
        (
            "generation ends elsewhere",
            Case {
                generation: Some(json!({ "eos_token_id": [4, 2], "temperature": 0.6 })),
                eod: "<eot>",
                ..llama(json!({ "eos_token_id": 2 }))
            },
        ),
        (
            "generation says nothing of the end",
            Case {
                generation: Some(json!({ "top_p": 0.9 })),
                ..llama(json!({}))
            },
        ),
        (
            "none, but the tokenizer has one",
            Case {
                about: Some(
                    json!({ "eos_token": { "content": "<x>", "lstrip": false }, "add_bos_token": true }),
                ),
                eod: "<x>",
                ids: [json!(null), json!(null), json!(null)],
                ..llama(json!({ "eos_token_id": null, "bos_token_id": null }))
            },
        ),
        (
            "an id that the tokenizer lacks",
            Case {
                about: Some(json!({ "eos_token": "<eot>" })),
                eod: "<eot>",
                ids: [json!(50_256), json!(50_256), json!(null)],
                ..Case::new("gpt2", json!({}))
            },
        ),
        (
            "Gemma's own ids",
            Case {
                eod: "<s>",
                ids: [json!(2), json!(1), json!(0)],
                ..Case::new("gemma2", json!({}))
            },
        ),
    ]
}

/// What tokenizers put around a text.
fn templates() -> Vec<(&'static str, Case)> {
    vec![
        (
            "a template that begins",
            Case {
                template: template(&["<s>"], &[]),
                bos: Some("<s>"),
                ..llama(json!({}))
            },
        ),
        (
            "a template that begins with the end",
            Case {
                template: template(&["</s>"], &[]),
                ..llama(json!({}))
            },
        ),
        (
            "a template that ends too",
            Case {
                template: template(&["<s>"], &["</s>"]),
                bos: Some("<s>"),
                ..llama(json!({}))
            },
        ),
        (
            "the template of BERT",
            Case {
                template: json!({ "type": "BertProcessing", "sep": ["<eot>", 4], "cls": ["<x>", 5] }),
                bos: Some("<x>"),
                ..llama(json!({}))
            },
        ),
        (
            "a template in a sequence",
            Case {
                template: json!({ "type": "Sequence", "processors": [
                { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true },
                template(&["<s>"], &[]),
            ] }),
                bos: Some("<s>"),
                ..llama(json!({}))
            },
        ),
        (
            "a template with two in front",
            Case {
                template: template(&["<s>", "<x>"], &[]),
                ..llama(json!({}))
            },
        ),
    ]
}

fn object(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Words that the tokenizers have, as lines.
fn write_texts(sandbox: &Sandbox) {
    let lines = (0..40).map(|n| {
        let words: Vec<String> = (0..12).map(|i| format!("w{}", 6 + (n * i) % 55)).collect();
        format!("{}\n", json!({ "text": words.join(" ") }))
    });
    std::fs::write(sandbox.path("words.jsonl"), lines.collect::<String>()).unwrap();
}

#[test]
fn what_a_folder_says_of_texts_is_used_and_written_as_it_was() {
    let (_folder, sandbox) = sandbox();
    write_texts(&sandbox);
    let cases = ends().into_iter().chain(templates());
    for (number, (what, case)) in cases.enumerate() {
        let name = |kind: &str| format!("{kind}{number}");
        let (from, run, to) = (name("from"), name("run"), name("to"));
        case.write(&sandbox.path(&from));
        text(&sandbox, &["import", &from, "--out", &run]);
        let config = std::fs::read_to_string(sandbox.path(&run).join("config.toml")).unwrap();
        let eod = format!("eod_token = \"{}\"\n", case.eod);
        assert!(config.contains(&eod), "{what}: {config}");
        let bos = case.bos.map(|token| format!("bos_token = \"{token}\"\n"));
        match bos {
            Some(bos) => assert!(config.contains(&bos), "{what}: {config}"),
            None => assert!(!config.contains("bos_token"), "{what}: {config}"),
        }
        text(
            &sandbox,
            &["sample", &run, "--tokens", "3", "--prompt", "w7"],
        );
        let all = [
            "--data.validation_fraction",
            "0",
            "--split",
            "train",
            "--json",
        ];
        let scores = text(
            &sandbox,
            &[&["eval", &run, "--data.path", "words.jsonl"], &all[..]].concat(),
        );
        let scores: Value = serde_json::from_str(&scores).unwrap();
        assert!(
            scores["models"]["model"]["loss"].as_f64().unwrap() > 1.0,
            "{what}: {scores}"
        );

        text(&sandbox, &["fold", &run]);
        let folded = format!("{run}/folded/step-00000000");
        for (run, to) in [(&run, &to), (&folded, &format!("{to}-folded"))] {
            text(&sandbox, &["export", run, to]);
            let (from, to) = (sandbox.path(&from), sandbox.path(to));
            let config = object(&to.join("config.json"));
            let ids =
                ["bos_token_id", "eos_token_id", "pad_token_id"].map(|key| config[key].clone());
            assert_eq!(ids, case.ids, "{what}");
            for file in [
                "tokenizer.json",
                "tokenizer_config.json",
                "generation_config.json",
                "chat_template.jinja",
            ] {
                let read = |folder: &Path| std::fs::read_to_string(folder.join(file)).ok();
                assert_eq!(read(&to), read(&from), "{what}: {file}");
            }
        }
    }
}

/// A folder in which nothing says how a text ends goes without an end, or with the one that is given.
#[test]
fn without_a_known_end_a_model_is_exported_as_it_is_or_with_the_one_that_is_given() {
    let (_folder, sandbox) = sandbox();
    let case = Case::new("qwen3", json!({}));
    case.write(&sandbox.path("from"));
    let said = text(&sandbox, &["import", "from", "--out", "run"]);
    assert!(said.contains("--data.eod_token NAME"), "{said}");
    text(&sandbox, &["export", "run", "plain"]);
    let config = object(&sandbox.path("plain").join("config.json"));
    assert_eq!(
        (&config["bos_token_id"], &config["eos_token_id"]),
        (&Value::Null, &Value::Null)
    );
    assert!(sandbox.path("plain").join("tokenizer.json").is_file());

    let said = text(
        &sandbox,
        &["export", "run", "given", "--data.eod_token", "<eot>"],
    );
    assert!(said.contains("puts <eot> before a text"), "{said}");
    let given = sandbox.path("given");
    for file in ["config.json", "generation_config.json"] {
        let ids = object(&given.join(file));
        assert_eq!(
            (&ids["bos_token_id"], &ids["eos_token_id"]),
            (&json!(4), &json!(4)),
            "{file}"
        );
    }
    assert_eq!(
        object(&given.join("tokenizer_config.json"))["eos_token"],
        "<eot>"
    );
}

/// What an earlier version wrote has no record of texts.
#[test]
fn a_model_that_was_imported_before_texts_were_recorded_is_still_read() {
    let (_folder, sandbox) = sandbox();
    Case::new("llama", json!({})).write(&sandbox.path("from"));
    text(&sandbox, &["import", "from", "--out", "run"]);
    let place = sandbox.path("run").join("frozen.json");
    let mut frozen = object(&place);
    frozen.as_object_mut().unwrap().remove("texts").unwrap();
    assert_eq!(frozen.as_object().unwrap().len(), 3);
    std::fs::write(&place, frozen.to_string()).unwrap();
    text(&sandbox, &["sample", "run", "--tokens", "2"]);
    text(&sandbox, &["export", "run", "to"]);
    let config = object(&sandbox.path("to").join("config.json"));
    assert_eq!(config["eos_token_id"], 2);
    // It recorded the name of a token that its tokenizer may lack.
    let place = sandbox.path("run").join("config.toml");
    let other = std::fs::read_to_string(&place).unwrap();
    std::fs::write(&place, other.replace("\"</s>\"", "\"<none>\"")).unwrap();
    text(&sandbox, &["export", "run", "unknown"]);
    let config = object(&sandbox.path("unknown").join("config.json"));
    assert_eq!(config["eos_token_id"], Value::Null);
}

/// Any of several tokens ends what is generated, and none of them is part of the text.
#[test]
fn a_generated_text_ends_with_any_of_the_tokens_that_end_one() {
    let (_folder, sandbox) = sandbox();
    let sample = |name: &str, ends: Option<Vec<usize>>| -> Vec<String> {
        let from = format!("{name}-from");
        let case = Case {
            generation: ends.map(|ends| json!({ "eos_token_id": ends })),
            ..Case::new("llama", json!({}))
        };
        case.write(&sandbox.path(&from));
        text(&sandbox, &["import", &from, "--out", name]);
        let greedy = ["--temperature", "0", "--tokens", "6", "--prompt", "w7"];
        let words = text(&sandbox, &[&["sample", name], &greedy[..]].concat());
        words.split_whitespace().map(str::to_owned).collect()
    };
    // The first of several stands before a text, so that it is the same everywhere.
    let whole = sample("whole", None);
    assert_eq!((whole.len(), whole[0].as_str()), (7, "w7"), "{whole:?}");
    let id = |word: &str| -> usize { word.trim_start_matches('w').parse().unwrap() };
    for (name, ends) in [
        ("second", vec![2, id(&whole[2])]),
        ("first-of-two", vec![2, id(&whole[4]), id(&whole[3])]),
        ("last", vec![2, id(&whole[6])]),
    ] {
        let at = |id: &usize| whole[1..].iter().position(|word| word == &format!("w{id}"));
        let first = ends.iter().filter_map(at).min().unwrap() + 1;
        assert_eq!(sample(name, Some(ends)), whole[..first], "{name}");
    }
}
