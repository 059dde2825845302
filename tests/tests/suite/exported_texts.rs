//! An exported tokenizer, called without further ado, gives what a text looked like in training.

use crate::program::{sandbox, text};
use evenburn::data::Tokenizer;
use evenburn::interchange::{Ends, ExportModel, Target, Token, export};
use evenburn_model::weights;
use evenburn_parity::exports;
use evenburn_tests::cli::Sandbox;
use serde_json::{Value, json};
use std::path::Path;

const END: &str = "<|endoftext|>";
const BEGIN: &str = "<s>";

/// A byte-level tokenizer with both tokens and a post-processor.
fn tokenizer(post_processor: &Value) -> (String, u32) {
    let trained = exports::tokenizer().unwrap();
    let mut json: Value = serde_json::from_str(trained.json()).unwrap();
    let id = trained.vocab_size() as u32;
    let mut begin = json["added_tokens"][0].clone();
    (begin["content"], begin["id"]) = (json!(BEGIN), json!(id));
    json["added_tokens"].as_array_mut().unwrap().push(begin);
    json["post_processor"] = post_processor.clone();
    (json.to_string(), id)
}

fn template(single: &[&str], tokens: &[(&str, u32)]) -> Value {
    let piece = |name: &&str| match *name {
        "$A" => json!({ "Sequence": { "id": "A", "type_id": 0 } }),
        token => json!({ "SpecialToken": { "id": token, "type_id": 0 } }),
    };
    let single: Vec<Value> = single.iter().map(piece).collect();
    let tokens: serde_json::Map<_, _> = tokens
        .iter()
        .map(|(name, id)| {
            let entry = json!({ "id": name, "ids": [id], "tokens": [name] });
            ((*name).to_owned(), entry)
        })
        .collect();
    json!({ "type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens })
}

/// The ids that a folder's tokenizer gives by default, and those without special tokens.
fn encoded(folder: &Path) -> (Vec<u32>, Vec<u32>) {
    let read = Tokenizer::from_file(&folder.join("tokenizer.json"), END).unwrap();
    let ids = |special| {
        read.inner()
            .encode("low newest", special)
            .unwrap()
            .get_ids()
            .to_vec()
    };
    (ids(true), ids(false))
}

const OUTCOMES: [&str; 3] = ["is kept", "is written", "is dropped"];

/// Post-processors, and what becomes of them with a token that begins every document and without one.
fn post_processors(
    begin: (&str, u32),
    end: (&str, u32),
) -> Vec<(Value, &'static str, &'static str)> {
    let [kept, written, dropped] = OUTCOMES;
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true });
    let sequence = |processors: Vec<Value>| json!({ "type": "Sequence", "processors": processors });
    vec![
        (Value::Null, written, written),
        (bytes.clone(), written, written),
        (template(&["$A"], &[]), written, written),
        (template(&[BEGIN, "$A"], &[begin]), kept, dropped),
        (template(&[END, "$A"], &[end]), dropped, kept),
        (
            template(&[BEGIN, "$A", END], &[begin, end]),
            dropped,
            dropped,
        ),
        (template(&["$A", END], &[end]), dropped, dropped),
        (
            template(&[BEGIN, END, "$A"], &[begin, end]),
            dropped,
            dropped,
        ),
        (
            sequence(vec![bytes.clone(), template(&[BEGIN, "$A"], &[begin])]),
            kept,
            dropped,
        ),
        (
            json!({ "type": "BertProcessing", "sep": [END, end.1], "cls": [BEGIN, begin.1] }),
            dropped,
            dropped,
        ),
        (
            json!({ "type": "RobertaProcessing", "sep": [END, end.1], "cls": [BEGIN, begin.1], "trim_offsets": true, "add_prefix_space": false }),
            dropped,
            dropped,
        ),
    ]
}

#[test]
fn the_template_puts_in_front_what_stood_there_in_training() {
    let case = exports::cases()
        .into_iter()
        .find(|case| case.name == "default_pre_norm")
        .unwrap();
    let decoder = case.decoder(burn::tensor::DType::F32).unwrap();
    let (_, begin_id) = tokenizer(&Value::Null);
    let end_id = exports::tokenizer().unwrap().eod();
    let (begin, end) = ((BEGIN, begin_id), (END, end_id));
    for (post_processor, with_begin, without) in post_processors(begin, end) {
        for (begins, word) in [(true, with_begin), (false, without)] {
            let (json, _) = tokenizer(&post_processor);
            let token = |(name, id): (&str, u32)| Token {
                name: name.to_owned(),
                id,
            };
            let first = if begins { begin } else { end };
            let model = ExportModel {
                plan: case.plan().unwrap(),
                weights: weights::collect(&decoder),
                tokenizer: Some(json.clone()),
                ends: Ends::Trained {
                    begin: begins.then(|| token(begin)),
                    end: token(end),
                },
            };
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join("to");
            let said = export(&model, &Target::Auto, &place)
                .unwrap()
                .template
                .unwrap();
            assert!(
                said.contains(word) && said.contains(first.0),
                "{post_processor}: {said}"
            );
            assert!(
                OUTCOMES
                    .iter()
                    .all(|other| *other == word || !said.contains(other)),
                "{said}"
            );

            let (default, plain) = encoded(&place);
            assert_eq!(
                default,
                [&[first.1][..], &plain].concat(),
                "{post_processor}"
            );
            let text = std::fs::read_to_string(place.join("tokenizer.json")).unwrap();
            assert_eq!(text == json, word == OUTCOMES[0], "{post_processor}");
            // What says where in a text each token is stays.
            let offsets = post_processor.to_string().contains("trim_offsets");
            let written: Value = serde_json::from_str(&text).unwrap();
            let kind = &written["post_processor"]["type"];
            assert_eq!(kind == "Sequence", offsets, "{post_processor}: {kind}");

            let read = |name: &str| -> Value {
                serde_json::from_slice(&std::fs::read(place.join(name)).unwrap()).unwrap()
            };
            for file in ["config.json", "generation_config.json"] {
                let ids = read(file);
                let found = (&ids["bos_token_id"], &ids["eos_token_id"]);
                assert_eq!(found, (&json!(first.1), &json!(end_id)), "{file}");
            }
            let about = read("tokenizer_config.json");
            assert_eq!(
                (&about["bos_token"], &about["eos_token"]),
                (&json!(first.0), &json!(END))
            );
        }
    }
}

/// The same through the program, with a tokenizer whose own template puts a token before a text.
#[test]
fn a_run_is_exported_with_the_token_that_its_documents_began_with() {
    let (_folder, sandbox) = sandbox();
    let (_, id) = tokenizer(&Value::Null);
    let (json, _) = tokenizer(&template(&[BEGIN, "$A"], &[(BEGIN, id)]));
    std::fs::write(sandbox.path("given.json"), json).unwrap();
    let end = exports::tokenizer().unwrap().eod();
    for (run, more, first, said) in [
        ("plain", &[][..], end, "is dropped"),
        ("begun", &["--data.bos_token", BEGIN][..], id, "is kept"),
    ] {
        let steps = [
            "--no-baselines",
            "--train.steps",
            "2",
            "--data.tokenizer",
            "given.json",
        ];
        text(
            &sandbox,
            &Sandbox::train("pre_norm", run, &[&steps[..], more].concat()),
        );
        let to = format!("{run}-exported");
        let written = text(&sandbox, &["export", run, &to]);
        assert!(written.contains(said), "{written}");
        let (default, plain) = encoded(&sandbox.path(&to));
        assert_eq!(default, [&[first][..], &plain].concat(), "{run}");
        // Read again, it is the same model of the same texts.
        let again = format!("{run}-again");
        text(&sandbox, &["import", &to, "--out", &again]);
        let loss = |run: &str, more: &[&str]| -> f64 {
            let scores = text(&sandbox, &[&["eval", run, "--json"], more].concat());
            let scores: Value = serde_json::from_str(&scores).unwrap();
            scores["models"]["model"]["loss"].as_f64().unwrap()
        };
        let difference = loss(run, &[]) - loss(&again, &["--data.path", "text"]);
        assert!(difference.abs() < 1e-6, "{run}: {difference}");
    }
}
