//! Tasks of one's own, and what is wrong with files and documents.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{encoder, fixtures, json, read};
use evenburn_eval::{
    Definition, DocResult, Document, Encoder as _, EvalError, OnBad, Options, Place, Position,
    Sampler, Task, TaskKind, TaskRegistry, TokenScore, documents, prepare,
};
use serde_json::Value;

fn document(line: u64, json: &str) -> Document {
    Document {
        fields: serde_json::from_str(json).unwrap(),
        place: Place {
            path: Path::new("docs.jsonl").into(),
            position: Position::Line(line),
        },
    }
}

fn task(toml: &str) -> Arc<Task> {
    Definition::parse(toml, "own.toml", Path::new(""))
        .unwrap()
        .tasks
        .remove(0)
}

fn built_in(name: &str) -> Arc<Task> {
    TaskRegistry::built_in()
        .unwrap()
        .select(name)
        .unwrap()
        .tasks
        .remove(0)
}

const CHOICE: &str = r#"
name = "own"
description = "One of one's own."
kind = "multiple_choice"
context = "{{ q }}"
choices = "c"
gold = "g"
[dataset]
path = "docs.jsonl"
"#;

/// The contexts that Python's generator leads to.
#[test]
fn examples_are_drawn_as_python_draws_them() {
    let folder = fixtures("own");
    let toml = std::fs::read_to_string(folder.join("words.toml")).unwrap();
    let wanted = json(&folder.join("contexts.json"));
    let encoder = encoder(&fixtures("cases/model"));
    for (without, prefix) in [(false, ""), (true, "without_document = true\n")] {
        let toml = format!("{toml}{prefix}");
        let task = Definition::parse(&toml, "words.toml", &folder)
            .unwrap()
            .tasks
            .remove(0);
        let pool = read(Path::new(&task.examples().unwrap().dataset().path));
        let asked = read(Path::new(&task.dataset().path));
        for shots in [1, 3, 6] {
            for sampler in [Sampler::Default, Sampler::FirstN] {
                let key = match (sampler, without) {
                    (Sampler::Default, false) => "default",
                    (Sampler::Default, true) => "without_document",
                    (Sampler::FirstN, false) => "first_n",
                    (Sampler::FirstN, true) => "first_n_without_document",
                };
                let options = Options {
                    shots,
                    sampler,
                    ..Options::new(256)
                };
                let all = asked.iter().cloned().map(Ok);
                let prepared = prepare(&task, all, &pool, &options, &encoder).unwrap();
                let answers = vec![
                    TokenScore {
                        log_likelihood: -1.0,
                        greedy: false,
                    };
                    prepared.requests().len()
                ];
                let result = prepared.finish(&answers).unwrap();
                let contexts: Vec<_> = result
                    .docs
                    .iter()
                    .map(|doc| match doc {
                        DocResult::Choice(choice) => choice.contexts[0].as_str(),
                        DocResult::Rolling(_) => unreachable!(),
                    })
                    .collect();
                assert_eq!(
                    serde_json::to_value(contexts).unwrap(),
                    wanted[format!("{key}_{shots}")],
                    "{key} {shots}"
                );
            }
        }
    }
}

#[test]
fn examples_may_be_missing() {
    let encoder = encoder(&fixtures("cases/model"));
    let ask = |task: &Arc<Task>, pool: &[Document], shots| {
        let options = Options {
            shots,
            ..Options::new(256)
        };
        let doc = document(1, r#"{"q": "Who?", "c": ["I", "you"], "g": 0}"#);
        prepare(task, [Ok(doc)], pool, &options, &encoder)
            .unwrap_err()
            .to_string()
    };
    let own = task(CHOICE);
    assert_eq!(
        ask(&own, &[], 2),
        "task `own`: 2 examples are asked for, and its file has no [examples]"
    );
    let with = task(&format!("{CHOICE}[examples]\npath = \"more.jsonl\"\n"));
    assert_eq!(
        ask(&with, &[], 2),
        "task `own`: 2 examples are asked for, and there are 0"
    );
    let pool = vec![document(7, r#"{"q": "Who?", "c": ["I"], "g": 3}"#); 2];
    assert_eq!(
        ask(&with, &pool, 2),
        "docs.jsonl, line 7, `gold` of task `own`: is 3, and there are 1 choices"
    );
}

#[test]
fn a_bad_document_is_named() {
    let encoder = encoder(&fixtures("cases/model"));
    let own = task(CHOICE);
    for (json, message) in [
        (
            r#"{"c": ["a"], "g": 0}"#,
            "`context` of task `own`: the document has no field `q`",
        ),
        (
            r#"{"q": "Q", "c": [], "g": 0}"#,
            "`choices` of task `own`: there are none",
        ),
        (
            r#"{"q": "Q", "g": 0}"#,
            "`choices` of task `own`: the document has no field `c`",
        ),
        (
            r#"{"q": "Q", "c": null, "g": 0}"#,
            "`choices` of task `own`: the document's field `c` is null",
        ),
        (
            r#"{"q": "Q", "c": ["a", "b"], "g": 2}"#,
            "`gold` of task `own`: is 2, and there are 2 choices",
        ),
        (
            r#"{"q": "Q", "c": ["a", "b"], "g": -1}"#,
            "`gold` of task `own`: is -1, and there are 2 choices",
        ),
        (
            r#"{"q": "Q", "c": ["a"], "g": "x"}"#,
            "`gold` of task `own`: is 'x', no whole number",
        ),
        (
            r#"{"q": "Q", "c": ["a"]}"#,
            "`gold` of task `own`: the document has no field `g`",
        ),
        (
            r#"{"q": " \n", "c": ["a"], "g": 0}"#,
            "`requests[0]` of task `own`: the context has no tokens: it is white space alone",
        ),
        (
            r#"{"q": "Q", "c": ["a", "one two three four five six seven eight nine ten eleven twelve"], "g": 0}"#,
            "`requests[1]` of task `own`: the continuation has",
        ),
    ] {
        let all = || {
            [
                document(1, r#"{"q": "Q", "c": ["a", "b"], "g": 1}"#),
                document(9, json),
            ]
            .map(Ok)
        };
        let error = prepare(&own, all(), &[], &Options::new(10), &encoder).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("docs.jsonl, line 9, {message}")),
            "{error}"
        );
        let options = Options {
            on_bad: OnBad::Skip,
            ..Options::new(10)
        };
        let prepared = prepare(&own, all(), &[], &options, &encoder).unwrap();
        assert_eq!(prepared.documents(), 1);
        assert_eq!(prepared.skipped().count, 1);
        assert_eq!(prepared.skipped().first, [error]);
    }
    let empty = task(
        &CHOICE
            .replace("delimiter", "")
            .replace("gold =", "delimiter = \"\"\ngold ="),
    );
    let doc = document(2, r#"{"q": "Q", "c": [""], "g": 0}"#);
    let error = prepare(&empty, [Ok(doc)], &[], &Options::new(10), &encoder).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("requests[0]` of task `own`: the continuation has no tokens"),
        "{error}"
    );
}

#[test]
fn built_in_tasks_name_what_is_missing() {
    let encoder = encoder(&fixtures("cases/model"));
    for (name, json, message) in [
        (
            "hellaswag",
            r#"{"activity_label": "A", "ctx_a": "b", "ctx_b": "c", "endings": ["x"], "label": ""}"#,
            "`gold` of task `hellaswag`: is '', no whole number",
        ),
        (
            "hellaswag",
            r#"{"activity_label": "A", "ctx_a": "b", "ctx_b": "c", "endings": ["x", 1], "label": "0"}"#,
            "`choices` of task `hellaswag`: ",
        ),
        (
            "piqa",
            r#"{"goal": "A", "sol1": "b", "label": 0}"#,
            "`choices[1]` of task `piqa`: the document has no field `sol2`",
        ),
        (
            "arc_easy",
            r#"{"question": "A", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "E"}"#,
            "`gold` of task `arc_easy`: ",
        ),
        (
            "arc_easy",
            r#"{"question": "A", "choices": {"text": ["a"]}, "answerKey": "A"}"#,
            "`gold` of task `arc_easy`: the document has no field `choices.label`",
        ),
        (
            "winogrande",
            r#"{"sentence": "no blank", "option1": "a", "option2": "b", "answer": "1"}"#,
            "`contexts[0]` of task `winogrande`: there is no \"_\" in it",
        ),
        (
            "winogrande",
            r#"{"sentence": "a _", "option1": "a", "option2": "b", "answer": ""}"#,
            "`gold` of task `winogrande`: ",
        ),
        (
            "blimp_causative",
            r#"{"sentence_good": "a"}"#,
            "`choices[1]` of task `blimp_causative`: the document has no field `sentence_bad`",
        ),
        (
            "wikitext",
            r#"{"text": "a"}"#,
            "`text` of task `wikitext`: the document has no field `page`",
        ),
    ] {
        let error = prepare(
            &built_in(name),
            [Ok(document(4, json))],
            &[],
            &Options::new(64),
            &encoder,
        )
        .unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with(&format!("docs.jsonl, line 4, {message}")),
            "{error}"
        );
    }
}

#[test]
fn files_of_tasks_are_checked() {
    let replaced = |from: &str, to: &str| {
        Definition::parse(&CHOICE.replace(from, to), "own.toml", Path::new(""))
            .unwrap_err()
            .to_string()
    };
    for (from, to, message) in [
        ("name = \"own\"\n", "", "missing field `name`"),
        (
            "description",
            "descripton",
            "own.toml, line 3: unknown field `descripton`",
        ),
        (
            "multiple_choice",
            "multiple",
            "own.toml, line 4: unknown variant `multiple`",
        ),
        ("path =", "paht =", "unknown field `paht`"),
        (
            "gold = \"g\"\n",
            "",
            "own.toml, `gold`: is missing; kind \"multiple_choice\" needs it",
        ),
        ("choices = \"c\"\n", "", "own.toml, `choices`: is missing"),
        (
            "context = ",
            "contexts = [\"a\"]\ncontext = ",
            "own.toml, `continuation`: is too many",
        ),
        (
            "choices = \"c\"",
            "choices = 3",
            "own.toml, line 6: expected an expression or a list of templates",
        ),
        (
            "choices = \"c\"",
            "choices = []",
            "own.toml, `choices`: is empty",
        ),
        (
            "choices = \"c\"",
            "choices = [\"{{ a\"]",
            "own.toml, `choices[0]`: syntax error",
        ),
        (
            "choices = \"c\"",
            "choices = \"c |\"",
            "own.toml, `choices`: syntax error",
        ),
        (
            "gold = \"g\"",
            "gold = \"g\"\ngood = \"x\"",
            "own.toml, `good`: is of no use to kind \"multiple_choice\"",
        ),
        ("\"own\"", "\"o w\"", "own.toml, `name`: \"o w\" is no name"),
        ("[dataset]", "[data]", "unknown field `data`"),
        ("gold =", "gold = = ", "own.toml, line 7"),
    ] {
        let error = replaced(from, to);
        assert!(error.contains(message), "{from} -> {to}: {error}");
    }
}

#[test]
fn tasks_are_found_by_name() {
    let registry = TaskRegistry::built_in().unwrap();
    let names = |list: &str| -> Vec<String> {
        let selection = registry.select(list).unwrap();
        selection
            .tasks
            .iter()
            .map(|task| task.name().to_owned())
            .collect()
    };
    assert_eq!(
        names("piqa, lambada,rolling,piqa"),
        ["piqa", "lambada_openai", "pile_10k"]
    );
    assert_eq!(names("blimp_causative,blimp").len(), 67);
    assert_eq!(
        names("blimp_causative,blimp")[..2],
        ["blimp_causative", "blimp_adjunct_island"]
    );
    let task = built_in("blimp_causative");
    assert_eq!(
        (task.group(), task.kind(), task.shots(5)),
        (Some("blimp"), TaskKind::MinimalPairs, 0)
    );
    assert_eq!(task.dataset().config.as_deref(), Some("causative"));
    let error = registry.select("hellaswag,arc_eazy").unwrap_err();
    assert!(
        matches!(&error, EvalError::UnknownTask { near, .. } if near[0] == "arc_easy"),
        "{error}"
    );
    let folder = fixtures("own");
    let path = folder.join("words.toml").display().to_string();
    let selection = registry.select(&format!("{path},sciq")).unwrap();
    assert_eq!(
        selection.tasks[0].dataset().path,
        folder.join("words.jsonl").display().to_string()
    );
    assert!(matches!(
        registry.select(&format!("{path},{path}")),
        Err(EvalError::SameName { .. })
    ));
    assert!(matches!(
        registry.select("nowhere.toml"),
        Err(EvalError::Io { .. })
    ));
    let list = registry.list();
    assert!(
        list.iter()
            .any(|line| line.name == "blimp" && line.tasks == 67)
    );
    assert!(list.iter().all(|line| !line.description.is_empty()));
}

#[test]
fn a_text_begins_with_a_token_where_it_is_asked_for() {
    let plain = encoder(&fixtures("cases/model"));
    let with = plain.clone().with_bos(true);
    let ids = plain.encode("The end.").unwrap();
    assert_eq!(with.encode("The end.").unwrap(), [&[0], &ids[..]].concat());
    assert_eq!(with.encode_bare("The end.").unwrap(), ids);
    let named = plain.encode("<|endoftext|>The end.").unwrap();
    assert_eq!(named, [&[0], &ids[..]].concat());
    assert_eq!(with.encode("<|endoftext|>The end.").unwrap(), named);
}

#[test]
fn compressed_lines_are_read() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let text = "{\"a\": 1}\n{\"a\": 2}\n";
    let gz = |name: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        std::fs::write(dir.path().join(name), encoder.finish().unwrap()).unwrap();
    };
    gz("a.jsonl.gz");
    let zst = zstd::encode_all(text.as_bytes(), 1).unwrap();
    std::fs::write(dir.path().join("a.json.zst"), zst).unwrap();
    for name in ["a.jsonl.gz", "a.json.zst"] {
        let values: Vec<Value> = read(&dir.path().join(name))
            .iter()
            .map(|d| d.fields["a"].clone())
            .collect();
        assert_eq!(values, [1, 2], "{name}");
    }
    std::fs::write(dir.path().join("a.csv"), "a").unwrap();
    std::fs::write(dir.path().join("a.parquet"), "PAR1 is no file").unwrap();
    for (name, message) in [
        ("a.csv", "unknown format"),
        ("a.parquet", "not a readable Parquet file"),
    ] {
        let source = evenburn_data::LocalFile::new(name.into(), dir.path().join(name)).unwrap();
        let error = documents(&source).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn damaged_tables_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.parquet");
    let whole = std::fs::read(fixtures("cases/tasks/wikitext.parquet")).unwrap();
    let count = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let source = evenburn_data::LocalFile::new("a.parquet".into(), path.clone()).unwrap();
        let rows = documents(&source)?.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, EvalError>(rows.len())
    };
    assert_eq!(count(&whole).unwrap(), 5);
    for end in [0, 4, 8, whole.len() / 2, whole.len() - 1] {
        assert!(count(&whole[..end]).is_err(), "{end}");
    }
    for place in (0..whole.len()).step_by(61) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        // Not every byte is checked; none may lead to a panic.
        let _ = count(&damaged);
    }
}
