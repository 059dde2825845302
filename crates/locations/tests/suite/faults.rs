//! What happens on the way of a file's bytes.

use serde_json::{Value, json};

use crate::hub::{Hub, assert_discreet, read_all};

const JSONL: &str = "hf://datasets/evenburn/slim-mini/train/chunk2/example_train_3.jsonl.zst";
const PARQUET: &str = "hf://datasets/evenburn/owt-mini/plain_text/train-00002-of-00004.parquet";
const PLAIN: &str = "hf://datasets/evenburn/slim-mini/README.md";

/// One case: its name, the rules, and how many times its size is sent of each file at most.
type Case = (&'static str, Value, f64);

#[allow(clippy::too_many_lines, reason = "a table")]
fn survived() -> Vec<Case> {
    let cdn = json!({"kind": "cdn"});
    let resolve = json!({"kind": "resolve"});
    let ranged = json!({"kind": "cdn", "range": true});
    let cut = json!({"match": cdn, "do": "truncate", "after": 0.5});
    vec![
        ("nothing", json!([]), 1.0),
        ("truncate_once", json!([cut]), 1.0),
        (
            "truncate_4",
            json!([{"match": cdn, "do": "truncate", "after": "random", "count": 4}]),
            1.0,
        ),
        (
            "reset_once",
            json!([{"match": cdn, "do": "reset", "after": 0.5}]),
            1.0,
        ),
        (
            "reset_4",
            json!([{"match": cdn, "do": "reset", "after": "random", "count": 4}]),
            1.0,
        ),
        (
            "truncate_no_length",
            json!([cut, {"match": cdn, "do": "no_length", "mode": "close"}]),
            1.0,
        ),
        (
            "truncate_chunked",
            json!([cut, {"match": cdn, "do": "no_length"}]),
            1.0,
        ),
        (
            "no_length",
            json!([{"match": cdn, "do": "no_length", "count": 0}]),
            1.0,
        ),
        (
            "no_length_close",
            json!([{"match": cdn, "do": "no_length", "mode": "close", "count": 0}]),
            1.0,
        ),
        (
            "range_ignored",
            json!([cut, {"match": cdn, "do": "ignore_range", "count": 0}]),
            1.5,
        ),
        (
            "range_shifted",
            json!([cut, {"match": ranged, "do": "wrong_range", "shift": 3}]),
            1.5,
        ),
        (
            "range_short",
            json!([cut, {"match": ranged, "do": "wrong_range", "short": 100}]),
            1.0,
        ),
        (
            "range_lies",
            json!([cut, {"match": ranged, "do": "wrong_range", "shift": 3, "lie": true}]),
            2.0,
        ),
        (
            "url_expired",
            json!([{"match": resolve, "do": "presign", "seconds": -1}]),
            1.01,
        ),
        (
            "url_once",
            json!([cut, {"match": resolve, "do": "presign", "uses": 1, "count": 0}]),
            1.01,
        ),
        (
            "url_bound",
            json!([cut, {"match": resolve, "do": "presign", "bind_range": true, "count": 0}]),
            1.01,
        ),
        (
            "503_6",
            json!([{"match": cdn, "do": "status", "status": 503, "count": 6}]),
            1.01,
        ),
        (
            "500_resolve_6",
            json!([{"match": resolve, "do": "status", "status": 500, "count": 6}]),
            1.0,
        ),
        (
            "408",
            json!([{"match": cdn, "do": "status", "status": 408}]),
            1.01,
        ),
        (
            "refused_6",
            json!([{"match": cdn, "do": "refuse", "count": 6}]),
            1.0,
        ),
        (
            "refused_rst",
            json!([{"match": cdn, "do": "refuse", "rst": true}, {"match": resolve, "do": "refuse"}]),
            1.0,
        ),
        (
            "reset_6_without_a_byte",
            json!([{"match": cdn, "do": "reset", "after": 0, "count": 6}]),
            1.0,
        ),
        (
            "stall_body",
            json!([{"match": cdn, "do": "stall", "after": 0.5, "seconds": 20}]),
            1.0,
        ),
        (
            "stall_head",
            json!([{"match": cdn, "do": "delay", "seconds": 20}]),
            1.0,
        ),
        (
            "drip",
            json!([{"match": cdn, "do": "drip", "bps": 10000, "bytes": 15000}]),
            1.0,
        ),
        (
            "corrupt",
            json!([{"match": cdn, "do": "corrupt", "at": 0.5}]),
            2.0,
        ),
        (
            "corrupt_6",
            json!([{"match": cdn, "do": "corrupt", "at": 0.5, "count": 6}]),
            7.0,
        ),
        (
            "gzip",
            json!([{"match": cdn, "do": "gzip", "count": 0}]),
            1.0,
        ),
        (
            "weak_etag",
            json!([cut, {"match": cdn, "do": "header", "set": {"ETag": "W/\"x\""}, "count": 0}]),
            1.0,
        ),
        (
            "no_etag",
            json!([cut, {"match": cdn, "do": "header", "drop": ["ETag", "Last-Modified"], "count": 0}]),
            1.0,
        ),
        (
            "date_only",
            json!([cut, {"match": cdn, "do": "header", "drop": ["ETag"], "count": 0}]),
            1.0,
        ),
        (
            "plain_cut",
            json!([{"match": {"kind": "resolve-cache"}, "do": "truncate", "after": 0.5}]),
            1.0,
        ),
        (
            "plain_503",
            json!([{"match": {"kind": "resolve-cache"}, "do": "status", "status": 503, "count": 3}]),
            1.05,
        ),
        (
            "plain_corrupt",
            json!([{"match": {"kind": "resolve-cache"}, "do": "corrupt", "at": 0.5}]),
            2.0,
        ),
    ]
}

/// Every file comes out equal, with no byte sent twice that needn't be, and no token at the other server.
#[test]
fn whole_files_survive() {
    let Some(hub) = Hub::start(&[]) else { return };
    for (name, rules, most) in survived() {
        hub.faults(&rules);
        let storage = hub.storage();
        for (location, repository) in [
            (JSONL, "datasets/evenburn/slim-mini"),
            (PARQUET, "datasets/evenburn/owt-mini"),
            (PLAIN, "datasets/evenburn/slim-mini"),
        ] {
            let read = read_all(&storage, location, repository);
            assert_eq!(read, Ok(1), "{name} {location}");
        }
        let (stats, ratio) = (hub.stats(), hub.ratio());
        assert!(ratio <= most + 1e-9, "{name}: {ratio}");
        assert_eq!(stats["auth_on_cdn"], 0, "{name}");
        let fired = stats["faults"].as_object().unwrap().len();
        assert_eq!(
            fired > 0,
            rules.as_array().is_some_and(|rules| !rules.is_empty()),
            "{name}"
        );
        if rules.to_string().contains("truncate") && name != "no_etag" && name != "weak_etag" {
            let resumed = hub
                .log()
                .into_iter()
                .any(|e| !e["if_range"].is_null() && !e["range"].is_null());
            assert!(resumed, "{name}: goes on with Range and If-Range");
        }
    }
}

/// The same by ranges; there no digest can tell that a byte is wrong.
#[test]
fn files_read_by_ranges_survive() {
    let Some(hub) = Hub::start(&[]) else { return };
    let undetectable = ["range_lies", "corrupt", "corrupt_6", "plain_corrupt"];
    for (name, rules, _) in survived() {
        if undetectable.contains(&name) {
            continue;
        }
        hub.faults(&rules);
        let mut settings = hub.settings();
        settings.whole_up_to = 0;
        settings.block = 60_000;
        let storage = evenburn_locations::Storage::new(settings).unwrap();
        for (location, repository) in [
            (JSONL, "datasets/evenburn/slim-mini"),
            (PARQUET, "datasets/evenburn/owt-mini"),
        ] {
            assert_eq!(
                read_all(&storage, location, repository),
                Ok(1),
                "{name} {location}"
            );
        }
        if name == "nothing" {
            assert!(hub.ratio() <= 1.0, "{}", hub.ratio());
            let unconditional = hub
                .log()
                .into_iter()
                .filter(|e| e["kind"] == "cdn" && e["if_range"].is_null());
            assert_eq!(
                unconditional.count(),
                2,
                "every range but the first is bound to the same contents"
            );
        }
        assert_eq!(hub.stats()["auth_on_cdn"], 0, "{name}");
    }
}

/// One error each, of the right class, that shows nothing secret.
#[test]
fn what_cannot_be_had_is_one_error() {
    let Some(hub) = Hub::start(&[]) else { return };
    let file = "train/chunk2/example_train_3.jsonl.zst";
    let cdn = json!({"kind": "cdn"});
    let resolve = json!({"kind": "resolve"});
    let cut = json!({"match": cdn, "do": "truncate", "after": 0.5});
    let other = format!("datasets/evenburn/slim-mini@v2:{file}");
    for (name, rules, class) in [
        (
            "changed",
            json!([cut, {"match": cdn, "do": "change", "nth": 2, "how": "other", "with": other}]),
            "changed",
        ),
        (
            "changed_same_size",
            json!([cut, {"match": cdn, "do": "change", "nth": 2, "how": "flip", "at": [0.75]}]),
            "changed",
        ),
        (
            "grown",
            json!([{"match": cdn, "do": "change", "how": "grow"}]),
            "changed",
        ),
        (
            "shrunk",
            json!([{"match": cdn, "do": "change", "how": "shrink", "etag": "same"}]),
            "changed",
        ),
        (
            "grown_no_length",
            json!([{"match": cdn, "do": "change", "how": "grow", "etag": "none"}, {"match": cdn, "do": "no_length"}]),
            "changed",
        ),
        (
            "flipped",
            json!([{"match": cdn, "do": "change", "how": "flip", "etag": "same"}]),
            "corrupt",
        ),
        (
            "corrupt_always",
            json!([{"match": cdn, "do": "corrupt", "at": 0.5, "count": 0}]),
            "corrupt",
        ),
        (
            "gone",
            json!([{"match": resolve, "do": "gone"}]),
            "not_found",
        ),
        (
            "dead_addresses",
            json!([{"match": resolve, "do": "presign", "seconds": -1, "count": 0}]),
            "denied",
        ),
        (
            "forbidden",
            json!([{"match": resolve, "do": "status", "status": 403, "count": 0}]),
            "denied",
        ),
        (
            "down",
            json!([{"match": cdn, "do": "status", "status": 503, "count": 0}]),
            "unavailable",
        ),
        (
            "refused",
            json!([{"match": cdn, "do": "refuse", "count": 0}]),
            "unavailable",
        ),
        (
            "redirect_loop",
            json!([{"match": resolve, "do": "redirect_loop", "count": 0}]),
            "redirects",
        ),
    ] {
        for whole_up_to in [u64::MAX, 0] {
            let undetectable = ["flipped", "corrupt_always", "grown_no_length"];
            if whole_up_to == 0 && undetectable.contains(&name) {
                continue;
            }
            hub.faults(&rules);
            let mut settings = hub.settings();
            settings.whole_up_to = whole_up_to;
            let storage = evenburn_locations::Storage::new(settings).unwrap();
            let error = read_all(&storage, JSONL, "datasets/evenburn/slim-mini").unwrap_err();
            assert_eq!(error.class(), class, "{name}: {error}");
            assert_discreet(&error);
            let stats = hub.stats();
            assert_eq!(stats["auth_on_cdn"], 0, "{name}");
            let asked = stats["requests"].as_u64().unwrap();
            assert!(asked < 30, "{name}: {asked} requests");
        }
    }
}

/// Another name of the storage's host, headers in lower case, and headers of a protocol that isn't spoken here.
#[test]
fn other_hosts_and_headers() {
    let options = [
        "--cdn-host",
        "localhost",
        "--lower-headers",
        "--xet",
        "all",
        "--no-cdn-head",
    ];
    let Some(hub) = Hub::start(&options) else {
        return;
    };
    hub.faults(&json!([{"match": {"kind": "cdn"}, "do": "truncate", "after": 0.5}]));
    let read = read_all(&hub.storage(), JSONL, "datasets/evenburn/slim-mini");
    assert_eq!((read, hub.ratio()), (Ok(1), 1.0));
    assert_eq!(hub.stats()["auth_on_cdn"], 0);
}
