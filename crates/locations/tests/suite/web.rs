//! Plain web servers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use evenburn_locations::Storage;
use serde_json::json;

use crate::hub::{Hub, assert_discreet, folder, list, python, read_all, sha256};

#[test]
fn folders_globs_and_files() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let storage = hub.storage();
    let base = &hub.api;
    for (location, files) in [
        (format!("{base}/files/"), 4),
        (format!("{base}/files/corpus/**/*.jsonl.zst"), 2),
        (format!("{base}/files/c*/train/"), 3),
    ] {
        let listing = list(&storage, &location).unwrap();
        let found: Vec<_> = listing
            .files
            .iter()
            .map(|file| file.path().to_owned())
            .collect();
        assert_eq!(found.len(), files, "{location}: {found:?}");
    }
    let expected = crate::hub::expected("files");
    for file in list(&storage, &format!("{base}/files/")).unwrap().files {
        assert_eq!(sha256(&*file).unwrap(), expected[file.path()].1);
    }
    let one = list(
        &storage,
        &format!("{base}/files/corpus/train/part-01.jsonl"),
    )
    .unwrap();
    assert_eq!((one.files[0].path(), one.files.len()), ("part-01.jsonl", 1));
    let folder = list(&storage, &format!("{base}/files/corpus/train")).unwrap();
    assert_eq!(folder.files.len(), 3);
    let error = list(&storage, &format!("{base}/files/nothing.jsonl?sig=secret")).unwrap_err();
    assert_eq!(error.class(), "not_found");
    assert_discreet(&error);
    // No request told a token.
    assert!(hub.log().iter().all(|entry| entry["auth"] == "none"));
}

#[test]
fn faults_of_web_servers() {
    let Some(hub) = Hub::start(&[]) else { return };
    let file = json!({"kind": "file", "method": "GET"});
    let cut = json!({"match": file, "do": "truncate", "after": 0.5});
    let location = format!("{}/files/corpus/", hub.api);
    for (name, rules, most, class) in [
        ("cut", json!([cut]), 1.0, None),
        (
            "reset",
            json!([{"match": file, "do": "reset", "after": "random", "count": 4}]),
            1.0,
            None,
        ),
        (
            "503",
            json!([{"match": file, "do": "status", "status": 503, "count": 6}]),
            1.1,
            None,
        ),
        (
            "weak",
            json!([cut, {"match": {"kind": "file"}, "do": "header", "set": {"ETag": "W/\"x\""}, "count": 0}]),
            1.5,
            None,
        ),
        (
            "no_etag",
            json!([cut, {"match": {"kind": "file"}, "do": "header", "drop": ["ETag"], "count": 0}]),
            1.0,
            None,
        ),
        (
            "nothing",
            json!([cut, {"match": {"kind": "file"}, "do": "header", "drop": ["ETag", "Last-Modified"], "count": 0}]),
            1.5,
            None,
        ),
        (
            "ignored",
            json!([cut, {"match": file, "do": "ignore_range", "count": 0}]),
            1.5,
            None,
        ),
        (
            "no_head",
            json!([{"match": {"kind": "file", "method": "HEAD"}, "do": "status", "status": 405, "count": 0}]),
            1.1,
            None,
        ),
        (
            "changed",
            json!([cut, {"match": file, "do": "change", "nth": 2, "how": "flip", "at": [0.75]}]),
            9.0,
            Some("changed"),
        ),
        (
            "changed_before",
            json!([{"match": file, "do": "change", "how": "flip"}]),
            9.0,
            Some("changed"),
        ),
        (
            "grown",
            json!([{"match": file, "do": "change", "how": "grow", "etag": "same"}]),
            9.0,
            Some("changed"),
        ),
        (
            "gone",
            json!([{"match": file, "do": "gone"}]),
            9.0,
            Some("not_found"),
        ),
    ] {
        hub.faults(&rules);
        let read = read_all_below(&hub.storage(), &location);
        match (read, class) {
            (Ok(files), None) => assert_eq!(files, 4, "{name}"),
            (Err(error), Some(class)) => {
                assert_eq!(error.class(), class, "{name}: {error}");
                assert_discreet(&error);
            }
            (read, class) => panic!("{name}: {read:?} {class:?}"),
        }
        if class.is_none() {
            let ratio = hub.ratio();
            assert!(ratio <= most + 1e-9, "{name}: {ratio}");
        }
    }
}

fn read_all_below(
    storage: &Storage,
    location: &str,
) -> Result<usize, evenburn_locations::LocationError> {
    let expected = crate::hub::expected("files");
    let files = list(storage, location)?.files;
    for file in &files {
        let path = format!("corpus/{}", file.path());
        assert_eq!(sha256(&**file)?, expected[&path].1, "{path}");
    }
    Ok(files.len())
}

/// Python's own server: an index in HTML, no `ETag`, and no ranges.
#[test]
fn a_server_without_ranges() {
    let Some(hub) = Hub::start(&[]) else { return };
    let started = Command::new(python())
        .args([
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            "127.0.0.1",
            "--directory",
        ])
        .arg(folder().join("repos/files"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = Server(started.unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line
        .split("port ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let location = format!("http://127.0.0.1:{port}/");
    assert_eq!(read_all(&hub.storage(), &location, "files"), Ok(4));
    let mut settings = hub.settings();
    settings.whole_up_to = 0;
    settings.block = 20_000;
    assert_eq!(
        read_all(&Storage::new(settings).unwrap(), &location, "files"),
        Ok(4)
    );
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
