//! What is known of a repository before its files are read.

use std::time::Instant;

use evenburn_locations::{LocationError, Storage};
use serde_json::json;

use crate::hub::{Hub, assert_discreet, expected, list, read_all};

const SLIM: &str = "hf://datasets/evenburn/slim-mini";

/// The listing has every file, with its size, in bytewise order.
fn assert_complete(storage: &Storage, name: &str) {
    let files = list(storage, SLIM)
        .unwrap_or_else(|e| panic!("{name}: {e}"))
        .files;
    let found: Vec<_> = files
        .iter()
        .map(|file| (file.path().to_owned(), file.size()))
        .collect();
    let wanted = expected("datasets/evenburn/slim-mini").into_iter();
    let wanted: Vec<_> = wanted
        .filter(|(path, _)| !path.starts_with('.'))
        .map(|(path, (size, _))| (path, size))
        .collect();
    assert_eq!(found, wanted, "{name}");
}

#[test]
fn odd_listings_are_read() {
    let Some(hub) = Hub::start(&["--page-size", "5"]) else {
        return;
    };
    let tree = json!({"kind": "tree"});
    for (name, rules) in [
        ("pages", json!([])),
        (
            "duplicate",
            json!([{"match": tree, "do": "listing", "mode": "duplicate", "count": 0}]),
        ),
        (
            "repeat",
            json!([{"match": tree, "do": "listing", "mode": "repeat", "count": 0}]),
        ),
        (
            "extra",
            json!([{"match": tree, "do": "listing", "mode": "extra", "count": 0}]),
        ),
        (
            "shuffle",
            json!([{"match": tree, "do": "listing", "mode": "shuffle", "count": 0}]),
        ),
        (
            "relative",
            json!([{"match": tree, "do": "listing", "mode": "relative", "count": 0}]),
        ),
        (
            "error_object",
            json!([{"match": tree, "do": "listing", "mode": "error_object", "per": "rule"}]),
        ),
        (
            "html",
            json!([{"match": tree, "do": "listing", "mode": "html", "count": 6, "per": "rule"}]),
        ),
        (
            "503",
            json!([{"match": tree, "do": "status", "status": 503, "count": 2}]),
        ),
        (
            "503_revision",
            json!([{"match": {"kind": "revision"}, "do": "status", "status": 503, "count": 6}]),
        ),
        (
            "cut",
            json!([{"match": tree, "do": "truncate", "after": 0.5}]),
        ),
    ] {
        hub.faults(&rules);
        assert_complete(&hub.storage(), name);
    }
}

#[test]
fn listings_that_lead_astray_are_refused() {
    let Some(hub) = Hub::start(&["--page-size", "5", "--cdn-auth", "accept"]) else {
        return;
    };
    for mode in ["traversal", "loop", "foreign", "error_object", "html"] {
        hub.faults(
            &json!([{"match": {"kind": "tree"}, "do": "listing", "mode": mode, "count": 0}]),
        );
        let error = list(&hub.storage(), SLIM).unwrap_err();
        assert_eq!(error.class(), "bad_listing", "{mode}: {error}");
        assert_discreet(&error);
        let stats = hub.stats();
        assert_eq!(stats["auth_on_cdn"], 0, "{mode}");
        assert!(stats["requests"].as_u64().unwrap() < 12, "{mode}");
    }
}

/// A branch that moves on while it is listed and read changes nothing.
#[test]
fn one_commit_is_used_for_everything() {
    let Some(hub) = Hub::start(&["--page-size", "3"]) else {
        return;
    };
    hub.faults(&json!([{"match": {"kind": "tree"}, "do": "move_ref", "to": "v2", "nth": 2, "per": "rule", "repo": "datasets/evenburn/slim-mini"}]));
    let storage = hub.storage();
    let read = read_all(
        &storage,
        &format!("{SLIM}/train/chunk1/*.zst"),
        "datasets/evenburn/slim-mini",
    );
    assert_eq!(read, Ok(4));
    assert_complete(&storage, "listed again");
    let asked = hub
        .log()
        .into_iter()
        .filter(|entry| entry["kind"] == "revision")
        .count();
    assert_eq!(asked, 1);
    // Whoever begins now sees the other commit.
    let now = list(&hub.storage(), SLIM).unwrap().commit;
    assert_ne!(now, list(&storage, SLIM).unwrap().commit);
}

#[test]
fn revisions_and_names() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let storage = hub.storage();
    for (location, repository, files) in [
        (
            "hf://datasets/evenburn/slim-mini@v2/train/chunk1",
            "datasets/evenburn/slim-mini@v2",
            4,
        ),
        (
            "hf://datasets/evenburn/slim-mini@refs/convert/parquet",
            "datasets/evenburn/slim-mini@refs%2Fconvert%2Fparquet",
            1,
        ),
        (
            "hf://datasets/evenburn/slim-mini@refs%2Fconvert%2Fparquet/**/*.parquet",
            "datasets/evenburn/slim-mini@refs%2Fconvert%2Fparquet",
            1,
        ),
        (
            "hf://datasets/oldorg/slim-mini/validation",
            "datasets/evenburn/slim-mini",
            2,
        ),
        (
            "hf://datasets/Evenburn/SLIM-mini/validation/**",
            "datasets/evenburn/slim-mini",
            2,
        ),
        (
            "hf://datasets/evenburn/private-mini/train",
            "datasets/evenburn/private-mini",
            2,
        ),
        (
            "hf://datasets/evenburn/gated-mini/**/*.zst",
            "datasets/evenburn/gated-mini",
            1,
        ),
        (
            "hf://evenburn/tokenizer-mini/config.json",
            "models/evenburn/tokenizer-mini",
            1,
        ),
    ] {
        assert_eq!(
            read_all(&storage, location, repository),
            Ok(files),
            "{location}"
        );
    }
    let commit = list(&storage, SLIM).unwrap().commit.unwrap();
    assert_eq!(
        list(&storage, &format!("{SLIM}@{commit}/train"))
            .unwrap()
            .files
            .len(),
        7
    );
}

#[test]
fn access_is_explained() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let read = |location: &str, token: &str| -> Result<usize, LocationError> {
        let mut settings = hub.settings();
        settings.environment = hub.environment(&hub.new_home(), &[("HF_TOKEN", token)]);
        read_all(
            &Storage::new(settings).unwrap(),
            location,
            "datasets/evenburn/gated-mini",
        )
    };
    let gated = "hf://datasets/evenburn/gated-mini/train";
    for (location, token, class, words) in [
        ("hf://datasets/evenburn/missing", "", "denied", "HF_TOKEN"),
        (
            "hf://datasets/evenburn/missing",
            "hf_good",
            "not_found",
            "no such repository",
        ),
        (
            "hf://datasets/evenburn/private-mini",
            "",
            "denied",
            "private",
        ),
        (
            "hf://datasets/evenburn/private-mini",
            "hf_outsider",
            "not_found",
            "no such repository",
        ),
        (
            "hf://datasets/evenburn/slim-mini",
            "hf_wrong",
            "denied",
            "doesn't take the token",
        ),
        (gated, "", "denied", "gated"),
        (gated, "hf_outsider", "denied", "ask for access"),
        (
            "hf://datasets/evenburn/disabled-mini",
            "hf_good",
            "denied",
            "disabled",
        ),
        (
            "hf://datasets/evenburn/slim-mini@nope",
            "",
            "not_found",
            "revision",
        ),
        (
            "hf://datasets/evenburn/slim-mini@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "",
            "not_found",
            "revision",
        ),
        (
            "hf://datasets/evenburn/slim-mini/nope.jsonl",
            "",
            "not_found",
            "no such files",
        ),
        (
            "hf://datasets/evenburn/slim-mini/nope/*.jsonl",
            "",
            "not_found",
            "no such file",
        ),
        (
            "hf://datasets/evenburn/slim-mini/train/*.csv",
            "",
            "not_found",
            "no such files",
        ),
    ] {
        let error = read(location, token).unwrap_err();
        assert_eq!(error.class(), class, "{location} {token}: {error}");
        assert!(
            error.to_string().contains(words),
            "{location} {token}: {error}"
        );
        assert_discreet(&error);
    }
    assert_eq!(read(gated, "hf_good"), Ok(2));
}

/// 59,171 files in 60 pages.
#[test]
fn wide_repositories_are_listed_within_seconds() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let storage = hub.storage();
    let start = Instant::now();
    let files = list(&storage, "hf://datasets/evenburn/slim-wide")
        .unwrap()
        .files;
    println!("listed in {:?}", start.elapsed());
    assert_eq!(files.len(), 59_171);
    assert_eq!(hub.stats()["kinds"]["tree"], 60);
}
