//! What is read of the files that were found: changes are noticed, what is no text is named, and validation text is
//! there even where no document falls into it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{gz, prose, zst};
use evenburn_data::{
    Corpus, DataConfig, DataError, InspectOptions, PathList, Split, inspect, prepare,
};
use tempfile::tempdir;

fn config(path: &Path) -> DataConfig {
    DataConfig {
        path: path.to_str().unwrap().into(),
        tokenizer_vocab: 300,
        ..Default::default()
    }
}

fn corpus(config: &DataConfig, dir: &Path) -> Corpus {
    prepare(config, &dir.join("cache"), &()).unwrap()
}

fn lines(texts: &[&str]) -> String {
    let line = |text: &&str| format!("{}\n", serde_json::json!({ "text": text }));
    texts.iter().map(line).collect()
}

/// The text of the first training document.
fn first_document(corpus: &Corpus) -> String {
    let tokens = corpus.train.tokens() as usize;
    let sample = corpus.train.sample(0, 0, tokens - 1).unwrap().tokens;
    let end = sample
        .iter()
        .position(|t| *t == corpus.tokenizer.eod())
        .unwrap();
    corpus.tokenizer.decode(&sample[..end]).unwrap()
}

#[test]
fn a_change_is_noticed_by_contents() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let config = DataConfig {
        validation_fraction: 0.0,
        ..config(&path)
    };
    let before = SystemTime::now() - Duration::from_hours(1);
    let write = |text: &str| {
        fs::write(&path, lines(&[text])).unwrap();
        // As a copy leaves it that keeps the time of the original.
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(before)
            .unwrap();
    };
    write("the first text");
    assert_eq!(
        first_document(&corpus(&config, dir.path())),
        "the first text"
    );
    // Equal in size and time of modification: at once, after the times have settled, and as another file of that name.
    write("the other text");
    assert_eq!(
        first_document(&corpus(&config, dir.path())),
        "the other text"
    );
    std::thread::sleep(Duration::from_millis(3200));
    assert_eq!(
        first_document(&corpus(&config, dir.path())),
        "the other text"
    );
    write("the third text");
    assert_eq!(
        first_document(&corpus(&config, dir.path())),
        "the third text"
    );
    let aside = dir.path().join("aside");
    fs::write(&aside, lines(&["a replacement!"])).unwrap();
    File::options()
        .write(true)
        .open(&aside)
        .unwrap()
        .set_modified(before)
        .unwrap();
    fs::rename(&aside, &path).unwrap();
    assert_eq!(
        first_document(&corpus(&config, dir.path())),
        "a replacement!"
    );
    // What is shown is what is trained on.
    let options = InspectOptions {
        documents: 1,
        samples: 0,
        context: 4,
        evaluation: 5,
        seed: 0,
    };
    let shown = inspect(&config, &dir.path().join("cache"), &(), &options).unwrap();
    assert_eq!(shown.documents[0].text, "a replacement!");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    fs::write(&path, lines(&["one", "two", "three"])).unwrap();
    let once = std::sync::Once::new();
    let grow = |_: &evenburn_data::ProgressState| {
        once.call_once(|| {
            let mut text = fs::read_to_string(&path).unwrap();
            text += &lines(&["four"]);
            fs::write(&path, text).unwrap();
        });
        std::ops::ControlFlow::Continue(())
    };
    let error = prepare(&config(&path), &dir.path().join("cache"), &grow).unwrap_err();
    assert!(matches!(error, DataError::Changed { .. }), "{error}");
}

#[test]
fn a_rewrite_of_equal_length_is_noticed_too() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    fs::write(&path, lines(&["one", "two", "six"])).unwrap();
    let once = std::sync::Once::new();
    let rewrite = |state: &evenburn_data::ProgressState| {
        if state.phase == evenburn_data::Phase::Hashing {
            once.call_once(|| {
                // The system's clock moves on in the meantime.
                std::thread::sleep(Duration::from_millis(50));
                fs::write(&path, lines(&["six", "two", "one"])).unwrap();
            });
        }
        std::ops::ControlFlow::Continue(())
    };
    let error = prepare(&config(&path), &dir.path().join("cache"), &rewrite).unwrap_err();
    assert!(matches!(error, DataError::Changed { .. }), "{error}");
}

#[test]
fn a_folder_without_any_text_is_an_error_with_the_reason() {
    let dir = tempdir().unwrap();
    let folder = dir.path().join("d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("a.json"), "{\"content\": \"a\"}\n").unwrap();
    fs::write(folder.join("b.txt"), "").unwrap();
    let error = prepare(&config(&folder), &dir.path().join("cache"), &()).unwrap_err();
    let message = error.to_string();
    assert!(error.is_wrong_input(), "{message}");
    for part in ["no field `text` (data.text_field)", "none of 2 files"] {
        assert!(message.contains(part), "{message}");
    }
    let named = DataConfig {
        text_field: "content".into(),
        ..config(&folder)
    };
    assert_eq!(corpus(&named, dir.path()).train.documents(), 1);
}

#[test]
fn json_lines_are_read_under_any_usual_ending() {
    let text = lines(&["a document", "another"]);
    let plain = text.as_bytes();
    let numbers = "{\"text\": \"a document\", \"score\": NaN}\n{\"x\": [-Infinity, \"NaN\"], \"text\": \"another\"}\n";
    for (name, bytes) in [
        ("a.jsonl", plain.to_vec()),
        ("a.JSONL", plain.to_vec()),
        ("a.ndjson", plain.to_vec()),
        ("a.json", plain.to_vec()),
        ("a.json.gz", gz(&[plain])),
        ("a.ndjson.gz", gz(&[plain])),
        ("a.jsonl.zstd", zst(&[plain])),
        ("a.Json.ZST", zst(&[plain])),
        ("a.jsonl", numbers.as_bytes().to_vec()),
    ] {
        let dir = tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d").join(name), bytes).unwrap();
        let corpus = corpus(&config(&dir.path().join("d")), dir.path());
        assert_eq!(
            corpus.train.documents() + corpus.validation.documents(),
            2,
            "{name}"
        );
    }
}

#[test]
fn what_is_no_text_is_named_in_a_folder_and_refused_by_itself() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for (name, bytes, why) in [
        ("a.txt", pointer, "Git LFS pointer"),
        ("a.parquet", pointer, "Git LFS pointer"),
        ("a.jsonl.zst", pointer, "Git LFS pointer"),
        (
            "a.txt",
            "/annex/objects/SHA256E-s3--98.txt\n",
            "git-annex pointer",
        ),
        ("a.jsonl", "", "is empty"),
        ("a.parquet", "", "is empty"),
        (
            "a.json",
            "{\n  \"name\": \"a card\"\n}\n",
            "no document in its first line: invalid JSON",
        ),
        (
            "a.json",
            "[{\"text\": \"x\"}]\n",
            "no document in its first line: invalid JSON",
        ),
        ("a.json", "{\"name\": \"a card\"}\n", "no field `text`"),
    ] {
        let dir = tempdir().unwrap();
        let folder = dir.path().join("d");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("text.jsonl"), lines(&["some text", "more"])).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
        let corpus = corpus(&config(&folder), dir.path());
        assert_eq!(corpus.train.documents() + corpus.validation.documents(), 2);
        let reading = corpus.reading().join("\n");
        let line = format!("left out: 1 file ({name}): ");
        let line = reading
            .lines()
            .find(|l| l.contains(&line))
            .unwrap_or_else(|| panic!("{reading}"));
        assert!(line.contains(why), "{line}");

        let alone = config(&folder.join(name));
        let error = prepare(&alone, &dir.path().join("cache"), &()).unwrap_err();
        assert!(
            error.is_wrong_input() && error.to_string().contains(why),
            "{error}"
        );
    }
}

#[test]
fn the_reading_says_what_went_where() {
    let dir = tempdir().unwrap();
    let root = dir.path().join("d");
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("train/a.jsonl", &lines(&["one", "two"]));
    write("train/b.jsonl", &lines(&["three", ""]));
    write("more.jsonl", &lines(&["four"]));
    write("val.jsonl", &lines(&["held"]));
    write("copy.jsonl", &lines(&["held"]));
    write("test/c.jsonl", &lines(&["five"]));
    write("table.csv", "1,2");
    assert_eq!(
        corpus(&config(&root), dir.path()).reading(),
        [
            "training: 3 documents from 2 files (train/a.jsonl, train/b.jsonl): by name",
            "training: 2 documents from 2 files (copy.jsonl, more.jsonl): no name says otherwise",
            "validation: 1 document from 1 file (val.jsonl): by name",
            "left out: 1 document without text",
            "warning: val.jsonl is for validation, and copy.jsonl, its equal byte for byte, for training",
            "left out: 1 file (test/c.jsonl): named test",
            "left out: 1 file (table.csv): ends in .csv",
        ]
    );

    let tagged = |text: &str, split: &str| {
        format!("{}\n", serde_json::json!({"text": text, "split": split}))
    };
    let path = dir.path().join("tagged.jsonl");
    fs::write(
        &path,
        tagged("one", "Train")
            + &tagged("two", "val")
            + &tagged("three", "TEST")
            + &tagged("four", "unknown"),
    )
    .unwrap();
    assert_eq!(
        corpus(&config(&path), dir.path()).reading(),
        [
            "training: 2 documents, validation: 1 document, from 1 file (tagged.jsonl): 2 by their field `split`, the \
             others by the hash of their text",
            "left out: 1 document whose field `split` says test",
        ]
    );
}

#[test]
fn the_end_of_the_text_is_held_out_where_no_document_falls_into_validation() {
    let dir = tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = write("input.txt", prose(1, 4000));
    let few = [
        write("1.txt", prose(2, 3000)),
        write("2.txt", prose(3, 300)),
        write("3.txt", prose(4, 10)),
    ];
    let documents = write("d.jsonl", lines(&[&prose(5, 900), &prose(6, 700)]));
    for (paths, shard_bytes) in [
        (vec![one], 8 << 20),
        (few.to_vec(), 8 << 20),
        (few.to_vec(), 1),
        (vec![documents], 1),
    ] {
        let config = DataConfig {
            path: PathList(paths),
            shard_bytes,
            tokenizer_vocab: 300,
            ..Default::default()
        };
        let whole = corpus(&config, dir.path());
        assert_eq!(whole.validation.tokens(), 0);
        let total = whole.train.tokens();
        let all = |corpus: &Corpus, split: Split| -> Vec<u32> {
            let store = corpus.store(split);
            let shard = |shard| {
                let count = store.samples_in(shard, 1);
                let rest = (0..count).map(move |i| store.sample(shard, i, 1).unwrap().tokens[1]);
                std::iter::once(store.sample(shard, 0, 1).unwrap().tokens[0]).chain(rest)
            };
            (0..store.windows()).flat_map(shard).collect()
        };
        let text = all(&whole, Split::Train);
        for (fraction, batch, held) in [
            (0.01, 1, total.div_ceil(100)),
            (0.01, 100, 100.max(total.div_ceil(100))),
            (0.05, 1, (0.05 * total as f64).ceil() as u64),
            (0.5, 1, total / 10),
            (0.01, 1 << 40, total / 10),
            (0.0, 100, 0),
        ] {
            let parted = whole.clone().hold_out(fraction, batch).unwrap();
            assert_eq!(parted.validation.tokens(), held, "{fraction} {batch}");
            assert_eq!(parted.train.tokens(), total - held);
            if held > 1 && held < 500 {
                // What is read is the beginning and the end of the text.
                let joined = [all(&parted, Split::Train), all(&parted, Split::Validation)].concat();
                assert!(joined == text, "{fraction} {batch}");
            }
            let said = parted
                .reading()
                .iter()
                .any(|l| l.contains("the end of the text is held out"));
            assert_eq!(said, held > 0);
            // Nothing more is held out of what has validation text.
            let again = parted.hold_out(0.1, 1).unwrap();
            let expected = if held == 0 { total / 10 } else { held };
            assert_eq!(again.validation.tokens(), expected);
        }
    }
}

/// About one text in a hundred falls into validation by its hash, and is trained on all the same.
#[test]
fn a_single_text_is_parted_whatever_split_it_falls_into() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("one.txt");
    fs::write(&path, prose(1, 2000)).unwrap();
    let mut seen = [false; 2];
    for fraction in [0.01, 0.3, 0.6, 0.999_999] {
        let config = DataConfig {
            validation_fraction: fraction,
            ..config(&path)
        };
        let whole = corpus(&config, dir.path());
        seen[usize::from(whole.train.tokens() == 0)] = true;
        let total = whole.train.tokens() + whole.validation.tokens();
        let parted = whole.hold_out(0.05, 33).unwrap();
        assert_eq!(parted.train.tokens() + parted.validation.tokens(), total);
        assert_eq!(
            parted.validation.tokens(),
            33.max((0.05 * total as f64).ceil() as u64)
        );
        assert_eq!(
            (parted.train.split(), parted.validation.split()),
            (Split::Train, Split::Validation)
        );
        assert!(
            parted
                .reading()
                .iter()
                .any(|l| l.contains("the end of the text is held out"))
        );
    }
    assert_eq!(seen, [true; 2]);
}

/// Nothing is taken out of what its own field, or a large share, holds out.
#[test]
fn text_that_is_all_for_validation_stays_there() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("held.jsonl");
    let tagged = |n: u64| serde_json::json!({"text": prose(n, 300), "split": "validation"});
    let plain = |n: u64| serde_json::json!({ "text": prose(n, 300) });
    let one = format!("{}\n", tagged(1));
    let many = (0..5)
        .map(|n| format!("{}\n", tagged(n)))
        .collect::<String>();
    let share = (0..5)
        .map(|n| format!("{}\n", plain(n)))
        .collect::<String>();
    for (text, fraction) in [(one, 0.01), (many, 0.01), (share, 0.999_999)] {
        fs::write(&path, text).unwrap();
        let config = DataConfig {
            validation_fraction: fraction,
            ..config(&path)
        };
        let whole = corpus(&config, dir.path());
        let tokens = whole.validation.tokens();
        assert_eq!(whole.train.tokens(), 0);
        let same = whole.hold_out(fraction, 33).unwrap();
        assert_eq!((same.train.tokens(), same.validation.tokens()), (0, tokens));
    }
}

#[test]
fn data_is_known_by_its_tokens() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let text = lines(&[&prose(1, 50), &prose(2, 50), &prose(3, 50)]);
    fs::create_dir(at("old")).unwrap();
    fs::write(at("old/a.jsonl"), &text).unwrap();
    let first = corpus(&config(&at("old")), dir.path());
    fs::create_dir(at("new")).unwrap();
    fs::write(at("new/renamed.json.gz"), gz(&[text.as_bytes()])).unwrap();
    let moved = corpus(&config(&at("new")), dir.path());
    assert_eq!(moved.manifest.fingerprint(), first.manifest.fingerprint());
    // The first format went by names and stored bytes.
    assert_ne!(
        moved.manifest.first_fingerprint(),
        first.manifest.first_fingerprint()
    );
    for (what, other) in [
        (
            "another text",
            lines(&[&prose(1, 50), &prose(2, 50), &prose(4, 50)]),
        ),
        (
            "another order",
            lines(&[&prose(2, 50), &prose(1, 50), &prose(3, 50)]),
        ),
        ("less text", lines(&[&prose(1, 50), &prose(2, 50)])),
    ] {
        fs::write(at("old/a.jsonl"), other).unwrap();
        let tokenizer = DataConfig {
            tokenizer: first.folder.join("tokenizer.json").to_str().unwrap().into(),
            ..config(&at("old"))
        };
        let other = corpus(&tokenizer, dir.path());
        assert_ne!(
            other.manifest.fingerprint(),
            first.manifest.fingerprint(),
            "{what}"
        );
    }
}
