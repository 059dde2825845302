//! Buckets, against `moto` where it is there.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use evenburn_locations::{Environment, Settings, Storage};
use serde_json::json;

use crate::hub::{Hub, expected, folder, list, sha256};

struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A store that speaks S3's protocol, with the files of the web server in it; `EVENBURN_MOTO` names its program.
fn moto() -> Option<(Moto, u16)> {
    let program = std::env::var("EVENBURN_MOTO").unwrap_or_else(|_| "moto_server".to_owned());
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let started = Command::new(&program)
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(server) = started else {
        eprintln!(
            "SKIPPED: no {program} plays S3 (pip install \"moto[server,s3]\"; EVENBURN_MOTO names it)"
        );
        return None;
    };
    let server = Moto(server);
    let url = format!("http://127.0.0.1:{port}");
    for _ in 0..200 {
        if ureq::put(format!("{url}/bucket")).send_empty().is_ok() {
            for path in expected("files").keys() {
                let bytes = std::fs::read(folder().join("repos/files").join(path)).unwrap();
                ureq::put(format!("{url}/bucket/{path}"))
                    .send(&bytes)
                    .unwrap();
            }
            for n in 0..1200 {
                ureq::put(format!("{url}/bucket/many/{n:04}%20%2B%26%C3%A4.jsonl"))
                    .send("{}".as_bytes())
                    .unwrap();
            }
            return Some((server, port));
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{program} doesn't answer");
}

fn storage(hub: &Hub, endpoint: &str, keys: bool) -> Storage {
    let home = hub.new_home();
    let mut pairs = vec![
        ("AWS_ENDPOINT_URL_S3", endpoint),
        ("STORAGE_EMULATOR_HOST", endpoint),
    ];
    if keys {
        pairs.extend(["AWS_ACCESS_KEY_ID", "GS_ACCESS_KEY_ID"].map(|name| (name, "test")));
        let secrets = ["AWS_SECRET_ACCESS_KEY", "GS_SECRET_ACCESS_KEY"];
        pairs.extend(secrets.map(|name| (name, "secret-word")));
    }
    let environment: Environment = hub.environment(&home, &pairs);
    Storage::new(Settings {
        environment,
        ..hub.settings()
    })
    .unwrap()
}

#[test]
fn buckets_are_listed_and_read() {
    let Some(hub) = Hub::start(&[]) else { return };
    let Some((_moto, port)) = moto() else { return };
    drop(hub);
    let front = format!("s3=http://127.0.0.1:{port}");
    let Some(hub) = Hub::start(&["--front", &front]) else {
        return;
    };
    let endpoint = hub.front("s3");
    let expected = expected("files");
    let cut = json!({"match": {"kind": "front", "path": "bucket/corpus/*"}, "do": "truncate", "after": 0.5});
    for rules in [json!([]), json!([cut])] {
        for scheme in ["s3", "gs"] {
            hub.faults(&rules);
            let storage = storage(&hub, &endpoint, true);
            let files = list(&storage, &format!("{scheme}://bucket/corpus/**"))
                .unwrap()
                .files;
            assert_eq!(files.len(), 4);
            for file in files {
                assert_eq!(
                    sha256(&*file).unwrap(),
                    expected[file.path()].1,
                    "{}",
                    file.path()
                );
            }
            let bytes: u64 = expected.values().map(|(size, _)| size).sum();
            assert_eq!(hub.sent("front", "bucket/corpus/"), bytes, "{scheme}");
        }
    }
    hub.faults(&json!([]));
    let storage = storage(&hub, &endpoint, true);
    assert_eq!(
        list(&storage, "s3://bucket/corpus/train/part-0*.jsonl")
            .unwrap()
            .files
            .len(),
        1
    );
    assert_eq!(
        list(&storage, "s3://bucket/corpus/train")
            .unwrap()
            .files
            .len(),
        3
    );
    let many = list(&storage, "s3://bucket/many").unwrap().files;
    assert_eq!(
        (many.len(), many[1199].path()),
        (1200, "many/1199 +&ä.jsonl")
    );
    assert_eq!(sha256(&*many[7]).unwrap().len(), 64);
    let error = list(&storage, "s3://none/x").unwrap_err();
    assert_eq!(error.class(), "not_found", "{error}");
    let cut = json!({"match": {"kind": "front", "path": "bucket/corpus/*"}, "do": "status", "status": 403, "count": 0});
    hub.faults(&json!([cut]));
    let error = sha256(&*list(&storage, "s3://bucket/corpus/train").unwrap().files[0]).unwrap_err();
    assert_eq!(error.class(), "denied", "{error}");
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
}
