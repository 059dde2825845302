//! Which files are read, and for which split.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use evenburn_data::{
    DataConfig, DataError, LeftOut, Listing, PathList, Rule, SourceRole, open_storage,
};
use tempfile::{TempDir, tempdir};

fn find_sources(config: &DataConfig) -> Result<Listing, DataError> {
    let storage = open_storage(config, Path::new("cache"))?;
    evenburn_data::find_sources(config, &storage)
}

/// A folder with files of these names, each with a text of its own.
fn folder(names: &[&str]) -> TempDir {
    let dir = tempdir().unwrap();
    for name in names {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{{\"text\": \"{name}\"}}\n")).unwrap();
    }
    dir
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn config(path: &Path) -> DataConfig {
    DataConfig {
        path: text(path).as_str().into(),
        ..Default::default()
    }
}

fn with_validation(path: &Path, validation: &str) -> DataConfig {
    DataConfig {
        validation_path: Some(validation.into()),
        ..config(path)
    }
}

/// Names with what they are for: `t`raining, `v`alidation or `m`ixed.
fn roles(config: &DataConfig) -> Vec<(String, char)> {
    let sources = find_sources(config).unwrap().sources;
    let letter = |role| match role {
        SourceRole::Train => 't',
        SourceRole::Validation => 'v',
        SourceRole::Mixed => 'm',
    };
    sources
        .iter()
        .map(|s| (s.source.name().to_owned(), letter(s.role)))
        .collect()
}

fn want(list: &[(&str, char)]) -> Vec<(String, char)> {
    list.iter()
        .map(|(name, c)| ((*name).to_owned(), *c))
        .collect()
}

#[test]
fn the_splits_that_names_say() {
    for (files, expected) in [
        // SlimPajama.
        (
            &[
                "train/chunk2/example_train_0.jsonl.zst",
                "train/chunk1/example_train_1.jsonl.zst",
                "validation/chunk1/example_train_0.jsonl.zst",
                "test/chunk1/example_holdout_0.jsonl.zst",
                "README.md",
                ".cache/x.jsonl",
            ][..],
            &[
                ("train/chunk1/example_train_1.jsonl.zst", 't'),
                ("train/chunk2/example_train_0.jsonl.zst", 't'),
                ("validation/chunk1/example_train_0.jsonl.zst", 'v'),
            ][..],
        ),
        // A hub's Parquet files.
        (
            &[
                "data/train-00000-of-00002.parquet",
                "data/validation-00000-of-00001.parquet",
                "data/test-00000-of-00001.parquet",
            ],
            &[
                ("data/train-00000-of-00002.parquet", 't'),
                ("data/validation-00000-of-00001.parquet", 'v'),
            ],
        ),
        // TinyStories.
        (
            &[
                "TinyStoriesV2-GPT4-train.txt",
                "TinyStoriesV2-GPT4-valid.txt",
            ],
            &[
                ("TinyStoriesV2-GPT4-train.txt", 't'),
                ("TinyStoriesV2-GPT4-valid.txt", 'v'),
            ],
        ),
        // The Pile, and C4.
        (
            &["train/00.jsonl.zst", "val.jsonl.zst", "test.jsonl.zst"],
            &[("train/00.jsonl.zst", 't'), ("val.jsonl.zst", 'v')],
        ),
        (
            &[
                "c4-train.00000-of-01024.json.gz",
                "c4-validation.00000-of-00008.json.gz",
            ],
            &[
                ("c4-train.00000-of-01024.json.gz", 't'),
                ("c4-validation.00000-of-00008.json.gz", 'v'),
            ],
        ),
        (
            &[
                "val_0001.jsonl",
                "0001.jsonl",
                "VAL-2.JSONL",
                "latest.jsonl",
            ],
            &[
                ("0001.jsonl", 't'),
                ("VAL-2.JSONL", 'v'),
                ("latest.jsonl", 't'),
                ("val_0001.jsonl", 'v'),
            ],
        ),
        // Without validation files every document finds its split by itself.
        (
            &["train-0.jsonl", "test-0.jsonl", "more.txt"],
            &[("more.txt", 'm'), ("train-0.jsonl", 'm')],
        ),
        (
            &["eval set/a.txt", "Training/dev.txt"],
            &[("Training/dev.txt", 't'), ("eval set/a.txt", 'v')],
        ),
    ] {
        let dir = folder(files);
        assert_eq!(roles(&config(dir.path())), want(expected), "{files:?}");
    }
}

#[test]
fn names_count_below_what_was_given() {
    let dir = folder(&[
        "validation/a.jsonl",
        "validation/b.jsonl",
        "validation/.hidden.jsonl",
        "test/c.txt",
        "train-1.txt",
    ]);
    let at = |p: &str| dir.path().join(p);
    // The folder, and the fixed part of a glob, say nothing.
    assert_eq!(
        roles(&config(&at("validation"))),
        want(&[("a.jsonl", 'm'), ("b.jsonl", 'm')])
    );
    assert_eq!(
        roles(&config(&at("validation/*"))),
        want(&[("a.jsonl", 'm'), ("b.jsonl", 'm')])
    );
    // A folder that a glob finds is searched like one that is given.
    assert_eq!(
        roles(&config(&at("[vt]*"))),
        want(&[
            ("train-1.txt", 't'),
            ("validation/a.jsonl", 'v'),
            ("validation/b.jsonl", 'v')
        ])
    );
    assert_eq!(
        roles(&config(&at("v*/*.jsonl"))),
        want(&[("validation/a.jsonl", 'v'), ("validation/b.jsonl", 'v')])
    );
    // A file that is given by itself has no split, also where a folder is given that holds it.
    assert_eq!(roles(&config(&at("test/c.txt"))), want(&[("c.txt", 'm')]));
    let both = DataConfig {
        path: PathList(vec![text(dir.path()), text(&at("test/c.txt"))]),
        ..Default::default()
    };
    assert_eq!(
        roles(&both),
        want(&[
            ("test/c.txt", 't'),
            ("train-1.txt", 't'),
            ("validation/a.jsonl", 'v'),
            ("validation/b.jsonl", 'v'),
        ])
    );
    // Turned off, they say nothing anywhere.
    let off = DataConfig {
        split_names: false,
        ..config(dir.path())
    };
    assert!(roles(&off).iter().all(|(_, role)| *role == 'm'));
    assert_eq!(roles(&off).len(), 4);
}

#[test]
fn a_file_is_one_however_it_is_spelled() {
    let dir = folder(&["d/a.jsonl", "d/held.jsonl", "elsewhere/x.txt"]);
    let held = dir.path().join("d/held.jsonl");
    let mut spellings = vec![
        text(&held),
        format!("{}/d/../d/held.jsonl", text(dir.path())),
        format!("{}/d/./held.jsonl", text(dir.path())),
        format!("{}//d//held.jsonl", text(dir.path())),
        format!("{}/d/hel[d].jsonl", text(dir.path())),
    ];
    #[cfg(unix)]
    {
        let link = |to: &Path, at: &str| {
            std::os::unix::fs::symlink(to, dir.path().join(at)).unwrap();
            text(&dir.path().join(at))
        };
        spellings.push(link(&held, "link.jsonl"));
        spellings.push(format!(
            "{}/held.jsonl",
            link(&dir.path().join("d"), "folder")
        ));
        let hard = dir.path().join("elsewhere/hard.jsonl");
        fs::hard_link(&held, &hard).unwrap();
        spellings.push(text(&hard));
    }
    for validation in &spellings {
        let config = with_validation(&dir.path().join("d"), validation);
        let listing = find_sources(&config).unwrap();
        let train: Vec<_> = listing
            .sources
            .iter()
            .filter(|s| s.role == SourceRole::Train)
            .map(|s| s.source.name())
            .collect();
        assert_eq!(train, ["a.jsonl"], "{validation}");
        assert_eq!(
            listing.left_out.get(&LeftOut::IsValidation),
            Some(&vec!["held.jsonl".to_owned()])
        );
        // Given by itself for both, it is a mistake.
        let both = with_validation(&held, validation);
        let error = find_sources(&both).unwrap_err().to_string();
        assert!(error.starts_with("data.validation_path: "), "{error}");
        // Named twice, it is read once.
        let twice = DataConfig {
            path: PathList(vec![text(&held), validation.clone()]),
            ..Default::default()
        };
        assert_eq!(roles(&twice).len(), 1, "{validation}");
    }
}

#[test]
fn validation_text_of_its_own() {
    let dir = folder(&[
        "t/train.txt",
        "t/valid.txt",
        "v/a.txt",
        "v/test.txt",
        "w/train.txt",
        "w/val.txt",
        "w/test.txt",
    ]);
    let of = |validation: &str| {
        let validation = text(&dir.path().join(validation));
        find_sources(&with_validation(&dir.path().join("t"), &validation)).unwrap()
    };
    let names = |validation: &str| {
        let listing = of(validation);
        let list: Vec<_> = listing
            .sources
            .iter()
            .map(|s| (s.source.name().to_owned(), s.role, s.rule))
            .collect();
        list
    };
    let train = ("train.txt".to_owned(), SourceRole::Train, Rule::Name);
    let given = |name: &str| (name.to_owned(), SourceRole::Validation, Rule::Key);
    // All of it, whatever it is called ...
    assert_eq!(
        names("v"),
        [train.clone(), given("a.txt"), given("test.txt")]
    );
    assert_eq!(names("v/test.txt"), [train.clone(), given("test.txt")]);
    // ... but where some of it is called validation, only that.
    assert_eq!(names("w"), [train, given("val.txt")]);
    let left_out = of("w").left_out;
    assert_eq!(left_out[&LeftOut::OtherValidation], ["valid.txt"]);
    assert_eq!(left_out[&LeftOut::NotValidation], ["test.txt", "train.txt"]);
}

#[test]
fn what_is_not_read_is_named() {
    let dir = folder(&[
        "a.jsonl",
        "b.csv",
        "c.csv",
        "README",
        "d.tar.gz",
        "e.parquet.gz",
        "f.jsonl.bz2",
        "test/g.txt",
    ]);
    let listing = find_sources(&config(dir.path())).unwrap();
    assert_eq!(listing.sources.len(), 1);
    let format = |ending: &str| LeftOut::Format(ending.to_owned());
    let expected = [
        (LeftOut::Test, vec!["test/g.txt"]),
        (format(""), vec!["README"]),
        (format(".bz2"), vec!["f.jsonl.bz2"]),
        (format(".csv"), vec!["b.csv", "c.csv"]),
        (format(".gz"), vec!["d.tar.gz", "e.parquet.gz"]),
    ];
    let mut found: Vec<_> = listing.left_out.into_iter().collect();
    for (_, names) in &mut found {
        names.sort();
    }
    assert_eq!(
        found,
        expected.map(|(why, names)| (
            why,
            names.into_iter().map(str::to_owned).collect::<Vec<_>>()
        ))
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() {
    let dir = folder(&["text/a.txt", "blobs/1234"]);
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(dir.path().join(to), dir.path().join(at)).unwrap();
    };
    link("text", "text/again");
    link("blobs/1234", "text/b.txt");
    let path = dir.path().join("text");
    assert_eq!(
        roles(&config(&path)),
        want(&[("a.txt", 'm'), ("b.txt", 'm')])
    );
    // Of the names that links give a file, a glob takes the shortest.
    let all = dir.path().join("**/*.txt");
    assert_eq!(
        roles(&config(&all)),
        want(&[("text/a.txt", 'm'), ("text/b.txt", 'm')])
    );
    // A link to nothing is text that is missing.
    link("nowhere", "text/c.txt");
    assert!(matches!(
        find_sources(&config(&path)),
        Err(DataError::Missing { .. })
    ));
}

#[cfg(unix)]
#[test]
fn what_any_name_holds_out_is_held_out() {
    // Files, links, and what is read for which split, whatever the order of the names.
    for (files, link, expected) in [
        (
            ["store.jsonl", "train/y.jsonl"],
            ("store.jsonl", "val/x.jsonl"),
            want(&[("store.jsonl", 'v'), ("train/y.jsonl", 't')]),
        ),
        (
            ["z.jsonl", "y.jsonl"],
            ("z.jsonl", "a_val.jsonl"),
            want(&[("a_val.jsonl", 'v'), ("y.jsonl", 't')]),
        ),
        (
            ["train/x.jsonl", "train/y.jsonl"],
            ("train/x.jsonl", "val/x.jsonl"),
            want(&[("train/x.jsonl", 'v'), ("train/y.jsonl", 't')]),
        ),
        (
            ["a.jsonl", "b.jsonl"],
            ("a.jsonl", "test/a.jsonl"),
            want(&[("b.jsonl", 'm')]),
        ),
    ] {
        let dir = folder(&files);
        let (to, at) = link;
        let at = dir.path().join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(dir.path().join(to), at).unwrap();
        assert_eq!(roles(&config(dir.path())), expected, "{link:?}");
        let listing = find_sources(&config(dir.path())).unwrap();
        assert_eq!(listing.left_out[&LeftOut::OtherName].len(), 1);
    }
    // Also where two folders of a list give it the names.
    let dir = folder(&["hub/1234.jsonl", "hub/5678.jsonl"]);
    fs::create_dir(dir.path().join("d")).unwrap();
    for (to, at) in [
        ("hub/1234.jsonl", "d/train.jsonl"),
        ("hub/5678.jsonl", "d/val.jsonl"),
    ] {
        std::os::unix::fs::symlink(dir.path().join(to), dir.path().join(at)).unwrap();
    }
    for order in [["hub", "d"], ["d", "hub"]] {
        let both = DataConfig {
            path: PathList(
                order
                    .iter()
                    .map(|name| text(&dir.path().join(name)))
                    .collect(),
            ),
            ..Default::default()
        };
        let letters: Vec<char> = roles(&both).into_iter().map(|(_, role)| role).collect();
        assert_eq!(letters, ['t', 'v'], "{order:?}");
    }
}

#[test]
fn errors_say_what_is_missing() {
    let dir = folder(&["a/1.jsonl", "a/3.csv", "empty/x.md"]);
    let fails = |p: &str| find_sources(&config(&dir.path().join(p))).unwrap_err();
    for missing in ["nope.jsonl", "nope/", "a/1.jsonl/x"] {
        let message = fails(missing).to_string();
        assert!(message.starts_with("data.path: no such file"), "{message}");
        assert!(message.contains("--data.path"), "{message}");
    }
    assert!(matches!(
        fails("a/*.parquet"),
        DataError::NothingMatched { .. }
    ));
    assert!(matches!(fails("empty"), DataError::NothingMatched { .. }));
    assert!(matches!(fails("a/3.csv"), DataError::UnknownFormat { .. }));
    assert!(matches!(fails("a/***"), DataError::Pattern { .. }));
    let validation = with_validation(&dir.path().join("a/1.jsonl"), "nowhere.txt");
    let message = find_sources(&validation).unwrap_err().to_string();
    assert!(message.contains("--data.validation_path"), "{message}");
    assert!(
        find_sources(&DataConfig::default())
            .unwrap_err()
            .to_string()
            .contains("data.path")
    );
}
