//! Text of a hub and of a web server, from the stand-in of `tests/hub`: which files are read and for which split.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenburn_data::{
    DataConfig, DataError, LeftOut, Listing, PathList, Pins, Rule, SourceRole, Tokenizer, fetch,
    find_sources,
};
use evenburn_locations::{ContentId, Settings, Storage, SystemClock};
use tempfile::TempDir;

fn repositories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hub/repos")
}

/// The stand-in, which ends with this.
struct Hub {
    process: Child,
    api: String,
    home: TempDir,
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Hub {
    /// `None`, loudly, where there is no python to run it.
    fn start() -> Option<Self> {
        let python = if cfg!(windows) { "python" } else { "python3" };
        let started = Command::new(python)
            .arg(repositories().join("../mock_hub.py"))
            .arg("--root")
            .arg(repositories())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut process) = started else {
            eprintln!("SKIPPED: no {python} runs the stand-in for the hub");
            return None;
        };
        let mut line = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        Some(Self {
            process,
            api: told["api"].as_str().unwrap().to_owned(),
            home: tempfile::tempdir().unwrap(),
        })
    }

    fn storage(&self) -> Storage {
        self.storage_of(u64::MAX)
    }

    /// One that reads larger files by ranges.
    fn storage_of(&self, whole_up_to: u64) -> Storage {
        let home = self.home.path().to_str().unwrap();
        let pairs = [
            ("HF_ENDPOINT", self.api.as_str()),
            ("HF_HOME", home),
            ("HOME", home),
        ];
        Storage::new(Settings {
            environment: pairs.into_iter().collect(),
            cache: self.home.path().join("own"),
            whole_up_to,
            block: 30_000,
            clock: Arc::new(SystemClock::default()),
        })
        .unwrap()
    }

    fn find(&self, config: &DataConfig) -> Result<Listing, DataError> {
        find_sources(config, &self.storage())
    }
}

fn config(paths: &[&str]) -> DataConfig {
    DataConfig {
        path: PathList(paths.iter().map(|path| (*path).to_owned()).collect()),
        ..DataConfig::default()
    }
}

type Roles = Vec<(String, SourceRole, Rule)>;

/// Names, roles and rules, and what is left out.
fn roles(listing: &Listing) -> (Roles, BTreeMap<LeftOut, Vec<String>>) {
    let role = |it: &evenburn_data::PlacedSource| (it.source.name().to_owned(), it.role, it.rule);
    (
        listing.sources.iter().map(role).collect(),
        listing.left_out.clone(),
    )
}

/// A repository is what its copy on this machine is: the same names, splits and order.
#[test]
fn a_repository_is_read_as_its_folder() {
    let Some(hub) = Hub::start() else { return };
    for (repository, below) in [
        ("slim-mini", ""),
        ("slim-mini", "/train"),
        ("slim-mini", "/train/"),
        ("slim-mini", "/**/*.zst"),
        ("slim-mini", "/*/chunk1"),
        ("slim-mini", "/*/chunk1/*.zst"),
        ("slim-mini", "/train/chunk[12]/*"),
        ("slim6b-mini", ""),
        ("slim6b-mini", "/data/*.parquet"),
        ("owt-mini", "/plain_text"),
        (
            "slim-mini",
            "/validation/chunk1/example_holdout_0.jsonl.zst",
        ),
    ] {
        let remote = format!("hf://datasets/evenburn/{repository}{below}");
        let local = repositories().join("datasets/evenburn").join(repository);
        let local = format!("{}{below}", local.display());
        let there = roles(&hub.find(&config(&[&remote])).unwrap());
        let here = roles(&hub.find(&config(&[&local])).unwrap());
        assert_eq!(there, here, "{repository}{below}");
        let web = format!("{}/files/corpus/", hub.api);
        let validation = |path: &str| DataConfig {
            validation_path: Some(web.as_str().into()),
            ..config(&[path])
        };
        let there = roles(&hub.find(&validation(&remote)).unwrap());
        let here = roles(&hub.find(&validation(&local)).unwrap());
        assert_eq!(
            there, here,
            "{repository}{below} with other validation text"
        );
    }
    let local = repositories().join("files/corpus").display().to_string();
    let web = format!("{}/files/corpus", hub.api);
    let there = roles(&hub.find(&config(&[&web])).unwrap());
    assert_eq!(there, roles(&hub.find(&config(&[&local])).unwrap()));
    let glob = format!("{web}/*/part-0*.jsonl.zst");
    let local = format!("{local}/*/part-0*.jsonl.zst");
    let there = roles(&hub.find(&config(&[&glob])).unwrap());
    assert_eq!(there, roles(&hub.find(&config(&[&local])).unwrap()));
}

#[test]
fn a_file_is_one_source_however_often_it_is_named() {
    let Some(hub) = Hub::start() else { return };
    let all = "hf://datasets/evenburn/slim-mini";
    let file = "validation/chunk1/example_holdout_0.jsonl.zst";
    let commit = hub.storage().list(&all.parse().unwrap()).unwrap().commit;
    let again = format!("{all}@{}/{file}", commit.unwrap());
    let once = hub.find(&config(&[all])).unwrap();
    let twice = hub.find(&config(&[all, &again])).unwrap();
    assert_eq!(once.sources.len(), twice.sources.len());
    // Given by itself it has no split.
    let role = |listing: &Listing| {
        let found = listing.sources.iter().find(|it| it.source.name() == file);
        found.map(|it| (it.role, it.named))
    };
    assert_eq!(role(&once), Some((SourceRole::Validation, false)));
    assert_eq!(role(&twice).map(|(_, named)| named), Some(true));
    let both = DataConfig {
        validation_path: Some(again.as_str().into()),
        ..config(&[&format!("{all}/{file}")])
    };
    let error = hub.find(&both).unwrap_err().to_string();
    assert!(error.starts_with("data.validation_path: "), "{error}");
    // Other files with the same contents are others.
    let wide = hub.find(&config(&[
        "hf://datasets/evenburn/slim-wide/train/chunk1/*_1?.jsonl.zst",
    ]));
    assert_eq!(wide.unwrap().sources.len(), 10);
}

#[test]
fn a_card_says_which_files_are_which() {
    let Some(hub) = Hub::start() else { return };
    let place = "hf://datasets/evenburn/configs-mini";
    let chosen = |name: &str| DataConfig {
        config: Some(name.to_owned()),
        ..config(&[place])
    };
    let names = |config: &DataConfig| {
        let listing = hub.find(config).unwrap();
        let name = |it: &evenburn_data::PlacedSource| (it.source.name().to_owned(), it.role);
        listing.sources.iter().map(name).collect::<Vec<_>>()
    };
    let (train, validation) = (SourceRole::Train, SourceRole::Validation);
    assert_eq!(
        names(&chosen("en")),
        [
            ("en/held.jsonl".to_owned(), validation),
            ("en/part-0.jsonl".to_owned(), train),
            ("en/part-1.jsonl".to_owned(), train),
        ]
    );
    assert_eq!(
        names(&chosen("de")),
        [("de/alle.jsonl".to_owned(), SourceRole::Mixed)]
    );
    let error = hub.find(&config(&[place])).unwrap_err().to_string();
    assert!(
        error.starts_with("data.config: ") && error.ends_with("choose one of en, de"),
        "{error}"
    );
    let error = hub.find(&chosen("fr")).unwrap_err().to_string();
    assert!(error.contains("fr") && error.ends_with("en, de"), "{error}");
    // Files that are named need no card, and then there is nothing to choose.
    let glob = format!("{place}/*.jsonl");
    assert_eq!(hub.find(&config(&[&glob])).unwrap().sources.len(), 1);
    let idle = DataConfig {
        config: Some("en".to_owned()),
        ..config(&[&glob])
    };
    let error = hub.find(&idle).unwrap_err().to_string();
    assert!(error.starts_with("data.config: "), "{error}");
    // A branch of converted files is a revision like any other.
    let converted = "hf://datasets/evenburn/slim-mini@refs/convert/parquet";
    let listing = hub.find(&config(&[converted])).unwrap();
    assert_eq!(
        roles(&listing).0,
        [(
            "default/validation/0000.parquet".to_owned(),
            validation,
            Rule::Name
        )]
    );
}

#[test]
fn what_names_nothing_names_its_key() {
    let Some(hub) = Hub::start() else { return };
    let web = format!("{}/files/nowhere/*.jsonl", hub.api);
    for path in [
        "hf://datasets/evenburn/missing",
        "hf://datasets/evenburn/slim-mini@nope",
        "hf://datasets/evenburn/slim-mini/none/*.jsonl",
        "hf://datasets/evenburn/slim-mini/*.md",
        "ftp://host/a.jsonl",
        "hf://datasets/evenburn",
        "no/such/folder",
        "none/*.jsonl",
        &web,
    ] {
        let training = hub.find(&config(&[path])).unwrap_err();
        assert!(training.to_string().contains("data.path"), "{training}");
        assert!(training.is_wrong_input(), "{training}");
        let folder = repositories().join("files").display().to_string();
        let held = DataConfig {
            validation_path: Some(path.into()),
            ..config(&[&folder])
        };
        let held = hub.find(&held).unwrap_err().to_string();
        assert!(held.contains("data.validation_path"), "{held}");
    }
    let no_text = hub.find(&config(&["hf://datasets/evenburn/slim-mini/README.md"]));
    assert!(matches!(no_text, Err(DataError::UnknownFormat { .. })));
}

/// As many files as SlimPajama has, on 60 pages: what is done here with an entry may take no time that shows.
#[test]
fn a_long_listing_is_read_in_seconds() {
    let Some(hub) = Hub::start() else { return };
    let config = config(&["hf://datasets/evenburn/slim-wide"]);
    // The stand-in makes its tree when it is asked first.
    hub.find(&config).unwrap();
    let begun = Instant::now();
    let listing = hub.find(&config).unwrap();
    let took = begun.elapsed();
    assert_eq!(listing.sources.len(), 59_170);
    println!("59,171 files in {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// Nothing is fetched to be listed; what is fetched is here, and is gone when it is released.
#[test]
fn files_are_fetched_and_released() {
    let Some(hub) = Hub::start() else { return };
    let storage = hub.storage();
    let config = config(&["hf://datasets/evenburn/slim-mini/train"]);
    let sources = find_sources(&config, &storage).unwrap().sources;
    let all: Vec<_> = sources.iter().map(|it| Arc::clone(&it.source)).collect();
    assert!(all.iter().all(|it| matches!(it.id(), ContentId::Sha256(_))));
    assert!(all.iter().all(|it| !it.is_here() && !it.is_ranged()));
    fetch(&all, &storage, &()).unwrap();
    let bytes = storage.traffic().bytes();
    fetch(&all, &storage, &()).unwrap();
    assert_eq!(storage.traffic().bytes(), bytes);
    assert!(all.iter().all(|it| it.is_here()));
    let first = sources[0]
        .documents(&DataConfig::default())
        .unwrap()
        .unwrap()
        .count();
    assert!(first > 0);
    assert!(all[0].release().unwrap());
    assert!(!all[0].is_here() && all[1].is_here());
    // It is fetched again where somebody needs it.
    let again = sources[0]
        .documents(&DataConfig::default())
        .unwrap()
        .unwrap()
        .count();
    assert_eq!(again, first);
    assert!(all[0].is_here());
}

/// The documents of a file are the same, whole or by ranges.
#[test]
fn documents_are_read_by_ranges() {
    let Some(hub) = Hub::start() else { return };
    let expected = std::fs::read(repositories().join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    for repository in ["slim-mini", "slim6b-mini", "owt-mini"] {
        let place = format!("hf://datasets/evenburn/{repository}/**/*train*");
        let storage = hub.storage_of(0);
        let listing = find_sources(&config(&[&place]), &storage).unwrap();
        let files = &expected["repos"][format!("datasets/evenburn/{repository}")]["files"];
        for placed in &listing.sources {
            assert!(placed.source.is_ranged());
            let location = placed.source.location().display().to_string();
            let path = location.split_once(&format!("{repository}/")).unwrap().1;
            let documents = placed.documents(&DataConfig::default()).unwrap().unwrap();
            let digests = documents.map(|it| evenburn_files::sha256(it.unwrap().text.as_bytes()));
            let wanted = files[path]["docs"].as_array().unwrap();
            let wanted: Vec<_> = wanted.iter().map(|it| it.as_str().unwrap()).collect();
            assert_eq!(digests.collect::<Vec<_>>(), wanted, "{location}");
            assert!(!placed.source.is_here());
        }
        assert!(listing.sources.len() > 1);
    }
}

#[test]
fn tokenizers_and_commits() {
    let Some(hub) = Hub::start() else { return };
    let storage = hub.storage();
    let end = "<|endoftext|>";
    let file = repositories().join("models/EleutherAI/gpt-neox-20b/tokenizer.json");
    let here = Tokenizer::from_file(&file, end).unwrap();
    let mut config = config(&["hf://datasets/DKYoon/SlimPajama-6B", "text/"]);
    config.tokenizer = "hf://EleutherAI/gpt-neox-20b".to_owned();
    for place in [
        config.tokenizer.as_str(),
        "hf://EleutherAI/gpt-neox-20b@main/tokenizer.json",
        file.to_str().unwrap(),
    ] {
        let there = Tokenizer::from_location(place, end, &storage).unwrap();
        assert_eq!(there.sha256(), here.sha256(), "{place}");
    }
    for place in [
        "hf://EleutherAI/missing",
        "hf://EleutherAI/gpt-neox-20b/*.json",
        "hf://evenburn/tokenizer-mini",
    ] {
        let error = Tokenizer::from_location(place, end, &storage).unwrap_err();
        assert!(matches!(error, DataError::Location(_)), "{error}");
    }
    storage.list(&config.path.0[0].parse().unwrap()).unwrap();
    Pins::of(&config, &storage).apply(&mut config);
    let commit = "b5f90f419b7489cdba26fdbc8c022fcb5562f968";
    let pinned = format!("hf://datasets/DKYoon/SlimPajama-6B@{commit}");
    assert_eq!(config.path.0, [pinned.as_str(), "text/"]);
    let (repository, commit) = config.tokenizer.split_once('@').unwrap();
    assert_eq!(
        (repository, commit.len()),
        ("hf://EleutherAI/gpt-neox-20b", 40)
    );
}
