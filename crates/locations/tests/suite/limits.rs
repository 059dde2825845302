//! Limits of requests: nobody asks too early. On the real clock, as the stand-in looks at its own.

use std::sync::Arc;

use evenburn_locations::{Storage, SystemClock};
use serde_json::json;

use crate::hub::{Hub, read_all};

const FILES: &str = "hf://datasets/evenburn/slim-mini/train/chunk1/*";

fn storage(hub: &Hub) -> Storage {
    let mut settings = hub.settings();
    settings.clock = Arc::new(SystemClock::default());
    Storage::new(settings).unwrap()
}

#[test]
fn what_a_refusal_says_is_followed() {
    let Some(hub) = Hub::start(&[]) else { return };
    let resolve = json!({"kind": "resolve", "path": "*.zst"});
    for (name, rule) in [
        (
            "resolve",
            json!({"match": resolve, "do": "rate_limit", "seconds": 1, "per": "rule"}),
        ),
        (
            "tree",
            json!({"match": {"kind": "tree"}, "do": "rate_limit", "seconds": 1, "per": "rule"}),
        ),
        (
            "revision",
            json!({"match": {"kind": ["info", "revision"]}, "do": "rate_limit", "seconds": 1, "per": "rule"}),
        ),
        (
            "seconds",
            json!({"match": resolve, "do": "rate_limit", "seconds": 1, "ratelimit": false, "retry_after": "1", "per": "rule"}),
        ),
        (
            "date",
            json!({"match": resolve, "do": "rate_limit", "seconds": 2, "ratelimit": false, "retry_after": "date:2", "per": "rule"}),
        ),
    ] {
        hub.faults(&json!([rule]));
        assert_eq!(
            read_all(&storage(&hub), FILES, "datasets/evenburn/slim-mini"),
            Ok(4),
            "{name}"
        );
        let stats = hub.stats();
        assert_eq!(stats["too_early"], 0, "{name}");
        assert_eq!(stats["statuses"]["429"], 1, "{name}");
    }
}

/// `Retry-After` counts for other refusals too.
#[test]
fn an_unavailable_server_is_left_alone_for_as_long_as_it_says() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([{"match": {"kind": "cdn"}, "do": "status", "status": 503, "retry_after": 1, "per": "rule"}]));
    assert_eq!(
        read_all(&storage(&hub), FILES, "datasets/evenburn/slim-mini"),
        Ok(4)
    );
    let log = hub.log();
    let at = log.iter().position(|entry| entry["status"] == 503).unwrap();
    let next = log[at + 1..]
        .iter()
        .find(|entry| entry["port"] == "cdn")
        .unwrap();
    let waited = next["t"].as_f64().unwrap() - log[at]["t"].as_f64().unwrap();
    assert!((1.0..3.0).contains(&waited), "{waited}");
}

/// An answer that says that nothing remains is believed before the next one refuses.
#[test]
fn a_quota_is_never_overrun() {
    let Some(hub) = Hub::start(&["--quota", "resolvers=3", "--window", "1"]) else {
        return;
    };
    hub.faults(&json!([]));
    assert_eq!(
        read_all(&storage(&hub), FILES, "datasets/evenburn/slim-mini"),
        Ok(4)
    );
    let stats = hub.stats();
    assert_eq!(
        (&stats["too_early"], &stats["statuses"]["429"]),
        (&json!(0), &json!(null))
    );
}
