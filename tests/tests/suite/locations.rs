//! `evenburn data documents`, `ls` and `cache` against the stand-in for the hub (`tests/hub`).

use std::fs;
use std::io::{BufReader, Write};

use serde_json::Value;

use crate::hub::{Hub, folder, lines};

/// The digests of a repository's documents, of one split or of all files.
fn expected(repository: &str, split: Option<&str>) -> Vec<String> {
    let text = fs::read_to_string(folder().join("repos/expected.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let repository = &all["repos"][repository];
    let files = repository["files"].as_object().unwrap();
    let meant = |path: &str| match split {
        None => true,
        Some(split) => {
            let paths = repository["splits"][split].as_array().unwrap();
            paths.iter().any(|p| p == path)
        }
    };
    let mut paths: Vec<_> = files.keys().filter(|path| meant(path)).collect();
    paths.sort();
    let documents = paths
        .into_iter()
        .filter_map(|path| files[path]["docs"].as_array());
    documents
        .flatten()
        .map(|digest| digest.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn documents_of_hubs_and_servers() {
    let Some(hub) = Hub::start(&serde_json::json!([])) else {
        return;
    };
    let web = format!("{}/files/corpus/", hub.api);
    for (location, repository, split) in [
        (
            "hf://datasets/evenburn/slim-mini",
            "datasets/evenburn/slim-mini",
            None,
        ),
        (
            "hf://datasets/evenburn/slim-mini",
            "datasets/evenburn/slim-mini",
            Some("train"),
        ),
        (
            "hf://datasets/evenburn/slim-mini",
            "datasets/evenburn/slim-mini",
            Some("test"),
        ),
        (
            "hf://datasets/evenburn/owt-mini",
            "datasets/evenburn/owt-mini",
            Some("train"),
        ),
        (
            "hf://datasets/evenburn/slim6b-mini",
            "datasets/evenburn/slim6b-mini",
            Some("validation"),
        ),
        (
            "hf://datasets/evenburn/gated-mini",
            "datasets/evenburn/gated-mini",
            None,
        ),
        (web.as_str(), "files", Some("train")),
    ] {
        let mut arguments = vec!["data", "documents", location, "--sha256"];
        arguments.extend(split.iter().flat_map(|split| ["--split", split]));
        let ran = hub.run(&arguments);
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{location}: {told}");
        assert!(
            lines(&ran.stdout) == expected(repository, split),
            "{location} {split:?}"
        );
    }
    let two = hub.run(&[
        "data",
        "documents",
        "--sha256",
        "--revision",
        "v2",
        "hf://datasets/evenburn/slim-mini/validation",
        "hf://datasets/evenburn/slim-mini@main/test",
    ]);
    let wanted = [
        expected("datasets/evenburn/slim-mini@v2", Some("validation")),
        expected("datasets/evenburn/slim-mini", Some("test")),
    ];
    assert_eq!(lines(&two.stdout), wanted.concat());
    // A text is one line.
    let texts = hub.run(&["data", "documents", "hf://datasets/evenburn/gated-mini"]);
    let texts = lines(&texts.stdout);
    assert_eq!(
        texts.len(),
        expected("datasets/evenburn/gated-mini", None).len()
    );
    assert!(
        texts
            .iter()
            .all(|line| serde_json::from_str::<String>(line).is_ok())
    );
}

#[test]
fn what_cannot_be_had_is_said_last() {
    let file = "train/chunk2/example_train_3.jsonl.zst";
    let gone = serde_json::json!([{"match": {"kind": "resolve", "path": file}, "do": "gone"}]);
    let Some(hub) = Hub::start(&gone) else { return };
    let ran = hub.run(&[
        "data",
        "documents",
        "hf://datasets/evenburn/slim-mini",
        "--split",
        "train",
        "--sha256",
    ]);
    assert!(!ran.status.success());
    let told = lines(&ran.stderr);
    let last = told.last().unwrap();
    assert!(
        last.starts_with("error[not_found]: ") && last.contains(file),
        "{last}"
    );
    let before = lines(&ran.stdout);
    let all = expected("datasets/evenburn/slim-mini", Some("train"));
    assert!(
        before.len() > 100 && all.starts_with(&before),
        "the documents before are right"
    );
    for (arguments, class) in [
        (&["hf://datasets/evenburn/missing"][..], "not_found"),
        (&["hf://datasets/evenburn/disabled-mini"], "denied"),
        (&["hf://datasets/evenburn/slim-mini/README.md"], "not_found"),
        (
            &["hf://datasets/evenburn/slim-mini", "--revision", "nope"],
            "not_found",
        ),
        (
            &["hf://datasets/evenburn/gated-mini", "--split", "test"],
            "not_found",
        ),
        (&["nowhere/*.jsonl"], "not_found"),
        (&["ftp://x/y"], "not_found"),
    ] {
        let ran = hub.run(&[&["data", "documents"], arguments].concat());
        let told = lines(&ran.stderr);
        let last = told.last().unwrap();
        assert!(
            last.starts_with(&format!("error[{class}]: ")),
            "{arguments:?}: {last}"
        );
        assert!(!ran.status.success() && ran.stdout.is_empty());
    }
}

/// Nothing is lost without a word: only what can't be documents is left out.
#[test]
fn what_is_left_out_and_what_stops() {
    let Some(hub) = Hub::start(&serde_json::json!([])) else {
        return;
    };
    let text = "{\"text\": \"a\"}\n";
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for (files, class) in [
        (&[("a.jsonl", text), ("b.jsonl", "")][..], None),
        (&[("a.jsonl", text), ("b.json", "{\n\"about\": 1}\n")], None),
        (
            &[("a.jsonl", text), ("b.jsonl", pointer)],
            Some("not_found"),
        ),
        (
            &[("a.jsonl", text), ("b.json", "{\"tex\": \"b\"}\n")],
            Some("corrupt"),
        ),
        (&[("a.jsonl", ""), ("b.jsonl", "")], Some("not_found")),
        (&[("a.jsonl", "")], Some("not_found")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let place = folder.path().join("*").display().to_string();
        let ran = hub.run(&["data", "documents", &place]);
        let told = lines(&ran.stderr);
        assert_eq!(ran.status.success(), class.is_none(), "{files:?}: {told:?}");
        if let Some(class) = class {
            let last = told.last().unwrap();
            assert!(
                last.starts_with(&format!("error[{class}]: ")),
                "{files:?}: {last}"
            );
        } else {
            assert_eq!(lines(&ran.stdout), ["\"a\""], "{files:?}");
        }
    }
}

#[test]
fn arguments_are_not_believed_and_not_repeated() {
    let Some(hub) = Hub::start(&serde_json::json!([])) else {
        return;
    };
    let web = format!("{}/files/corpus/train/", hub.api);
    let train = hub.run(&["data", "documents", &web, "--split", "train", "--sha256"]);
    assert_eq!(lines(&train.stdout), expected("files", Some("train")));
    for revision in ["", "../.."] {
        let place = "hf://datasets/evenburn/slim-mini";
        let ran = hub.run(&["data", "ls", place, "--revision", revision]);
        let told = lines(&ran.stderr);
        assert!(
            told.last().unwrap().starts_with("error[not_found]: "),
            "{told:?}"
        );
    }
    let signed = format!("{}?sig=secret", web.replace("http://", "HTTP://"));
    for (place, good) in [
        (signed.as_str(), true),
        ("FTP://user:secret@host/a", false),
        ("az://?sig=secret", false),
    ] {
        let ran = hub.run(&["data", "ls", place]);
        let told = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.success(), good, "{place}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

/// Files that were made to fill memory or disk.
#[test]
fn bombs_and_lies_are_corrupt() {
    let Some(hub) = Hub::start(&serde_json::json!([])) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut line = BufReader::new(std::io::repeat(b'a'));
    let mut long = fs::File::create(path("line.jsonl")).unwrap();
    long.write_all(b"{\"text\": \"").unwrap();
    std::io::copy(&mut std::io::Read::take(&mut line, 200 << 20), &mut long).unwrap();
    long.write_all(b"\"}\n").unwrap();
    drop(long);
    fs::write(path("half.jsonl"), "{\"text\": \"a\"}\n{\"text\": \"b").unwrap();
    let parquet = crate::hub::folder().join("repos/files/corpus/train/part-02.parquet");
    let mut parquet = fs::read(parquet).unwrap();
    let length = parquet.len() - 8;
    // The footer's length in front of the last four bytes.
    parquet[length..length + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(path("footer.parquet"), &parquet).unwrap();
    fs::write(path("cut.parquet"), &parquet[..length]).unwrap();
    for (name, before) in [
        ("line.jsonl", 0),
        ("half.jsonl", 1),
        ("footer.parquet", 0),
        ("cut.parquet", 0),
    ] {
        let ran = hub.run(&["data", "documents", &path(name), "--sha256"]);
        let told = lines(&ran.stderr);
        let last = told.last().unwrap();
        assert!(last.starts_with("error[corrupt]: "), "{name}: {last}");
        assert_eq!(lines(&ran.stdout).len(), before, "{name}");
    }
}

#[test]
fn listings_and_what_is_kept() {
    let Some(hub) = Hub::start(&serde_json::json!([])) else {
        return;
    };
    let listed = hub.run(&["data", "ls", "hf://datasets/evenburn/owt-mini/**/*.parquet"]);
    let listed = lines(&listed.stdout);
    assert_eq!(listed.len(), 4);
    assert!(
        listed[0].contains("113,894 plain_text/train-00000-of-00004.parquet sha256:"),
        "{}",
        listed[0]
    );
    let kept = hub.run(&["data", "cache", "ls"]);
    assert!(kept.status.success() && kept.stdout.is_empty());
    let web = format!("{}/files/corpus/validation/", hub.api);
    for location in ["hf://datasets/evenburn/gated-mini", &web] {
        assert!(hub.run(&["data", "documents", location]).status.success());
    }
    let kept = lines(&hub.run(&["data", "cache", "ls"]).stdout);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(
        kept[1].ends_with("datasets--evenburn--gated-mini"),
        "{kept:?}"
    );
    assert!(hub.run(&["data", "cache", "clear"]).status.success());
    assert_eq!(lines(&hub.run(&["data", "cache", "ls"]).stdout).len(), 1);
}
