//! Files that are read where they lie, by ranges: never two states of one, and never a wait that needn't be.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use evenburn_locations::Storage;
use serde_json::{Value, json};

use crate::hub::{Hub, assert_discreet, expected, list, sha256};

const BLOCK: u64 = 20_000;

fn ranged(hub: &Hub) -> Storage {
    let mut settings = hub.settings();
    settings.whole_up_to = 0;
    settings.block = BLOCK;
    Storage::new(settings).unwrap()
}

/// What becomes of a file that is read to its end: its bytes, or an error of a class.
fn read(hub: &Hub, location: &str) -> Result<String, String> {
    let listing = list(&ranged(hub), location).unwrap();
    sha256(&*listing.files[0]).map_err(|error| {
        assert_discreet(&error);
        error.class().to_owned()
    })
}

#[test]
fn two_states_never_mix() {
    let Some(hub) = Hub::start(&[]) else { return };
    let path = "corpus/train/part-01.jsonl";
    let web = format!("{}/files/{path}", hub.api);
    let plain = &expected("files")[path].1;
    let name = "train/chunk2/example_train_3.jsonl.zst";
    let large = format!("hf://datasets/evenburn/slim-mini/{name}");
    let digest = &expected("datasets/evenburn/slim-mini")[name].1;
    let get = json!({"kind": ["file", "cdn"], "method": "GET"});
    let both = json!({"kind": ["file", "cdn"]});
    let change = |etag: &str| json!([{"match": get, "do": "change", "nth": 2, "how": "flip", "at": [0.75], "etag": etag}]);
    let dropped = |fields: &Value| json!([{"match": get, "do": "header", "drop": fields, "skip": 1, "count": 0}]);
    for (name, rules, class) in [
        ("nothing", json!([]), None),
        ("changed", change("new"), Some("changed")),
        ("changed, without a tag", change("none"), Some("changed")),
        (
            "tag and date are dropped",
            dropped(&json!(["ETag", "Last-Modified"])),
            Some("changed"),
        ),
        (
            "the tag is dropped",
            dropped(&json!(["ETag"])),
            Some("changed"),
        ),
        (
            "other ranges come",
            json!([{"match": get, "do": "wrong_range", "shift": 3, "count": 2}]),
            None,
        ),
        (
            "shorter ranges come",
            json!([{"match": get, "do": "wrong_range", "short": 100, "count": 2}]),
            None,
        ),
        (
            "ranges are ignored",
            json!([{"match": both, "do": "ignore_range", "count": 0}]),
            None,
        ),
        (
            "ranges are ignored, and it changes",
            json!([{"match": both, "do": "ignore_range", "count": 0},
                   {"match": get, "do": "change", "nth": 2, "how": "flip", "at": [0.75]}]),
            Some("changed"),
        ),
    ] {
        for (location, whole) in [(&web, plain), (&large, digest)] {
            hub.faults(&rules);
            let wanted = class.map_or_else(|| Ok(whole.clone()), |class| Err(class.to_owned()));
            assert_eq!(read(&hub, location), wanted, "{name}: {location}");
        }
    }
}

/// A server that says nothing of a file's state can change it between two parts.
#[test]
fn what_could_change_unseen_is_refused() {
    let Some(hub) = Hub::start(&[]) else { return };
    let web = format!("{}/files/corpus/train/part-01.jsonl", hub.api);
    let plain = json!({"kind": "file"});
    for rule in [
        json!({"match": plain, "do": "header", "drop": ["ETag", "Last-Modified"], "count": 0}),
        json!({"match": plain, "do": "header", "set": {"ETag": "W/\"x\""}, "count": 0}),
    ] {
        hub.faults(&json!([rule]));
        let listing = list(&ranged(&hub), &web).unwrap();
        let error = sha256(&*listing.files[0]).unwrap_err();
        assert_eq!(error.class(), "unavailable");
        assert!(error.to_string().contains("data.cache_bytes"), "{error}");
    }
}

#[test]
fn the_next_block_comes_while_one_is_used() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let storage = ranged(&hub);
    let location = "hf://datasets/evenburn/slim-mini/train/chunk2/example_train_3.jsonl.zst";
    let file = list(&storage, location).unwrap().files.remove(0);
    assert!(file.size() > 4 * BLOCK && file.is_ranged());
    let asked = || {
        let log = hub.log();
        let first = |entry: &Value| entry["range"].as_str().map(str::to_owned);
        let cdn = log.iter().filter(|entry| entry["kind"] == "cdn");
        cdn.filter_map(first).collect::<Vec<_>>()
    };
    let mut reader = file.open().unwrap();
    let mut part = vec![0; BLOCK as usize];
    reader.read_exact(&mut part).unwrap();
    assert_eq!(asked().len(), 1, "one block tells no order");
    reader.read_exact(&mut part).unwrap();
    let begun = Instant::now();
    while asked().len() < 3 && begun.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(5));
    }
    let third = format!("bytes={}-{}", 2 * BLOCK, 3 * BLOCK - 1);
    assert_eq!(asked().last(), Some(&third));
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len() as u64, file.size() - 2 * BLOCK);
    let mut all = asked();
    let blocks = all.len();
    all.sort();
    all.dedup();
    let count = file.size().div_ceil(BLOCK) as usize;
    assert_eq!(
        (all.len(), blocks),
        (count, count),
        "no block is fetched twice"
    );
}
