//! Files on the disk: the hub's own layout, whose parts are completed and whose damage is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use evenburn_locations::{Settings, Storage};
use serde_json::json;

use crate::hub::{Hub, folder, list, python, read_all, sha256};

const FILE: &str = "train/chunk2/example_train_3.jsonl.zst";
const SLIM: &str = "hf://datasets/evenburn/slim-mini";
const NAME: &str = "datasets/evenburn/slim-mini";

/// Settings whose home is a folder.
fn at(hub: &Hub, home: &Path, more: &[(&str, &str)]) -> Settings {
    Settings {
        environment: hub.environment(home, more),
        cache: home.join("own"),
        ..hub.settings()
    }
}

fn blob(home: &Path) -> PathBuf {
    let digest = &crate::hub::expected(NAME)[FILE].1;
    home.join("hub/datasets--evenburn--slim-mini/blobs")
        .join(digest)
}

fn original() -> Vec<u8> {
    fs::read(folder().join("repos").join(NAME).join(FILE)).unwrap()
}

/// Bytes that were sent of files.
fn sent(hub: &Hub) -> u64 {
    let stats = hub.stats();
    let paths = stats["paths"].as_object().unwrap();
    paths
        .values()
        .map(|path| path["sent"].as_u64().unwrap())
        .sum()
}

#[test]
fn files_lie_where_others_find_them() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let home = hub.new_home();
    let storage = Storage::new(at(&hub, &home, &[])).unwrap();
    assert_eq!(read_all(&storage, SLIM, NAME), Ok(11));
    let commit = list(&storage, SLIM).unwrap().commit.unwrap();
    let root = home.join("hub/datasets--evenburn--slim-mini");
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), commit);
    let name = root.join("snapshots").join(&commit).join(FILE);
    assert_eq!(fs::read(&name).unwrap(), original());
    if cfg!(unix) {
        let link = fs::read_link(&name).unwrap();
        assert!(link.starts_with("../../../../blobs"), "{}", link.display());
    }
    // What is there isn't fetched again, by another process either.
    hub.reset();
    let again = Storage::new(at(&hub, &home, &[])).unwrap();
    assert_eq!((read_all(&again, SLIM, NAME), sent(&hub)), (Ok(11), 0));
    // Nor is the hub asked at all, where it must not be.
    hub.reset();
    let offline = Storage::new(at(&hub, &home, &[("HF_HUB_OFFLINE", "1")])).unwrap();
    assert_eq!(read_all(&offline, SLIM, NAME), Ok(11));
    assert_eq!(hub.stats()["requests"], 0);
    let error = list(&offline, "hf://datasets/evenburn/owt-mini").unwrap_err();
    assert_eq!(error.class(), "unavailable");
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
}

#[test]
fn parts_are_completed() {
    let Some(hub) = Hub::start(&[]) else { return };
    let whole = original();
    let half = whole.len() / 2;
    let mut wrong = whole[..half].to_vec();
    wrong[half / 2] ^= 1;
    let longer = [whole.as_slice(), b"more"].concat();
    for (part, more) in [
        (&whole[..half], whole.len() - half),
        (&whole[..], 0),
        (&wrong[..], 2 * whole.len() - half),
        (&longer[..], whole.len()),
    ] {
        hub.faults(&json!([]));
        let home = hub.new_home();
        let incomplete = blob(&home).with_extension("incomplete");
        fs::create_dir_all(incomplete.parent().unwrap()).unwrap();
        fs::write(&incomplete, part).unwrap();
        let storage = Storage::new(at(&hub, &home, &[])).unwrap();
        assert_eq!(read_all(&storage, &format!("{SLIM}/{FILE}"), NAME), Ok(1));
        assert_eq!(sent(&hub), more as u64);
        assert!(!incomplete.exists());
    }
}

#[test]
fn damaged_files_are_fetched_again() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let home = hub.new_home();
    let location = format!("{SLIM}/{FILE}");
    let first = Storage::new(at(&hub, &home, &[])).unwrap();
    assert_eq!(read_all(&first, &location, NAME), Ok(1));
    let mut bytes = original();
    bytes[1000] ^= 1;
    fs::write(blob(&home), &bytes).unwrap();
    let second = Storage::new(at(&hub, &home, &[])).unwrap();
    assert_eq!(read_all(&second, &location, NAME), Ok(1));
    assert_eq!(fs::read(blob(&home)).unwrap(), original());
}

/// The cache's folder may be one that a user keeps other things in.
#[test]
fn only_own_files_are_removed() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let home = hub.new_home();
    let own = home.join("own");
    let kept = own.join("evenburn-files");
    fs::create_dir_all(own.join("files")).unwrap();
    fs::create_dir_all(&kept).unwrap();
    fs::write(own.join("files/a.jsonl"), "mine").unwrap();
    fs::write(kept.join("notes.txt"), "mine").unwrap();
    let storage = Storage::new(at(&hub, &home, &[])).unwrap();
    let location = format!("{}/files/corpus/validation/", hub.api);
    let files = list(&storage, &location).unwrap().files;
    let bytes: u64 = files.iter().map(|file| file.size()).sum();
    let blob = files[0].fetch().unwrap();
    let lock = fs::File::open(blob.with_file_name(format!(
        "{}.lock",
        blob.file_name().unwrap().to_str().unwrap()
    )))
    .unwrap();
    lock.lock().unwrap();
    assert_eq!((storage.clear(), blob.exists()), (Ok(0), true));
    lock.unlock().unwrap();
    assert_eq!((storage.clear(), blob.exists()), (Ok(bytes), false));
    assert_eq!(storage.cached(), Ok(Vec::new()));
    for path in [own.join("files/a.jsonl"), kept.join("notes.txt")] {
        assert_eq!(fs::read_to_string(path).unwrap(), "mine");
    }
}

/// What is left of a repository without the hub is said, and what is missing is no empty corpus.
#[test]
fn what_the_cache_lacks_is_told_offline() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let home = hub.new_home();
    let storage = Storage::new(at(&hub, &home, &[])).unwrap();
    assert_eq!(read_all(&storage, &format!("{SLIM}/{FILE}"), NAME), Ok(1));
    assert_eq!(list(&storage, SLIM).unwrap().note, None);
    let offline = Storage::new(at(&hub, &home, &[("HF_HUB_OFFLINE", "1")])).unwrap();
    let listing = list(&offline, SLIM).unwrap();
    assert_eq!(listing.files.len(), 1);
    assert!(listing.note.unwrap().contains("may have more"));
    let error = list(&offline, &format!("{SLIM}/validation")).unwrap_err();
    assert_eq!(error.class(), "unavailable", "{error}");
    fs::remove_file(blob(&home)).unwrap();
    if cfg!(unix) {
        let error = list(&offline, SLIM).unwrap_err();
        assert_eq!(error.class(), "unavailable", "{error}");
        assert!(error.to_string().contains(FILE), "{error}");
    }
}

/// Without a digest, a tag and a date nothing tells whether a file of an earlier process is the same.
#[test]
fn files_that_nothing_tells_apart_are_fetched_by_every_process() {
    let Some(hub) = Hub::start(&[]) else { return };
    let plain = json!({"match": {"kind": "file"}, "do": "header", "drop": ["ETag", "Last-Modified"], "count": 0});
    hub.faults(&json!([plain]));
    let home = hub.new_home();
    let location = format!("{}/files/corpus/validation/", hub.api);
    let storage = || Storage::new(at(&hub, &home, &[])).unwrap();
    let fetch = |storage: &Storage| {
        let file = Arc::clone(&list(storage, &location).unwrap().files[0]);
        file.fetch().unwrap()
    };
    // Two at the same time, as two processes are.
    let (one, other) = (storage(), storage());
    let path = fetch(&one);
    let bytes = fs::read(&path).unwrap();
    // Other bytes of the same length.
    fs::write(&path, vec![b'x'; bytes.len()]).unwrap();
    let second = fetch(&other);
    assert!(path != second && fs::read(&second).unwrap() == bytes);
    // They are of no use to anybody else.
    drop((one, other));
    assert!(!path.exists() && !second.exists());
}

/// What was fetched is removed, and only that, unless somebody fetches it.
#[test]
fn a_file_is_released() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let home = hub.new_home();
    let storage = Storage::new(at(&hub, &home, &[])).unwrap();
    let web = format!("{}/files/corpus/train/", hub.api);
    for location in [SLIM, &web] {
        let files = list(&storage, location).unwrap().files;
        assert!(!files[0].is_here());
        let (path, other) = (files[0].fetch().unwrap(), files[1].fetch().unwrap());
        assert!(files[0].is_here() && path.exists());
        assert_eq!(files[0].release(), Ok(true));
        assert!(!files[0].is_here() && !path.exists() && other.exists());
        assert_eq!(files[0].release(), Ok(true), "there is nothing to do");
        assert!(sha256(&*files[0]).is_ok() && files[0].is_here());
    }
    let commit = list(&storage, SLIM).unwrap().commit.unwrap();
    let root = home.join("hub/datasets--evenburn--slim-mini");
    let file = Arc::clone(&list(&storage, &format!("{SLIM}/{FILE}")).unwrap().files[0]);
    let name = root.join("snapshots").join(&commit).join(FILE);
    let part = blob(&home).with_extension("incomplete");
    file.fetch().unwrap();
    fs::write(&part, "half").unwrap();
    assert!(fs::symlink_metadata(&name).is_ok());
    let lock = home.join("hub/.locks/datasets--evenburn--slim-mini");
    let digest = blob(&home)
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let lock = fs::File::open(lock.join(format!("{digest}.lock"))).unwrap();
    lock.lock().unwrap();
    assert_eq!(file.release(), Ok(false));
    assert!(file.is_here());
    lock.unlock().unwrap();
    assert_eq!(file.release(), Ok(true));
    assert!(!blob(&home).exists() && !part.exists() && fs::symlink_metadata(&name).is_err());
}

/// Threads that want the same file fetch it once.
#[test]
fn threads_share_a_download() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let storage = hub.storage();
    let listing = list(&storage, &format!("{SLIM}/{FILE}")).unwrap();
    let file = &listing.files[0];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| sha256(&**file).unwrap());
        }
    });
    assert_eq!(sent(&hub), file.size());
}

/// A disk without space is one error that says so.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let home = hub.new_home();
    let incomplete = blob(&home).with_extension("incomplete");
    fs::create_dir_all(incomplete.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &incomplete).unwrap();
    let storage = Storage::new(at(&hub, &home, &[])).unwrap();
    let error = read_all(&storage, &format!("{SLIM}/{FILE}"), NAME).unwrap_err();
    assert_eq!(error.class(), "unavailable");
    assert!(error.to_string().contains("disk is full"), "{error}");
}

/// `huggingface_hub` finds what is fetched here, and the other way round.
#[test]
fn python_shares_the_cache() {
    let Some(hub) = Hub::start(&[]) else { return };
    hub.faults(&json!([]));
    let run = |home: &Path, offline: &str, code: &str| {
        let ran = Command::new(python())
            .args(["-c", code])
            .env("HF_HOME", home)
            .env("HF_ENDPOINT", &hub.api)
            .env("HF_HUB_OFFLINE", offline)
            .env("HF_HUB_DISABLE_XET", "1")
            .env("HF_HUB_DISABLE_TELEMETRY", "1")
            .output()
            .unwrap();
        (
            ran.status.success(),
            String::from_utf8_lossy(&ran.stdout).trim().to_owned(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    if !run(&hub.new_home(), "0", "import huggingface_hub").0 {
        eprintln!(
            "SKIPPED: {} has no huggingface_hub to compare with (EVENBURN_PYTHON names another)",
            python()
        );
        return;
    }
    let home = hub.new_home();
    let ours = Storage::new(at(&hub, &home, &[])).unwrap();
    assert_eq!(read_all(&ours, SLIM, NAME), Ok(11));
    let code = format!(
        "from huggingface_hub import hf_hub_download as d; print(open(d('evenburn/slim-mini', '{FILE}', repo_type='dataset'), 'rb').read().__len__())"
    );
    let (ok, out, err) = run(&home, "1", &code);
    assert!(ok, "{err}");
    assert_eq!(out, original().len().to_string());
    let home = hub.new_home();
    let code = "from huggingface_hub import snapshot_download as s; s('evenburn/slim-mini', repo_type='dataset')";
    let (ok, _, err) = run(&home, "0", code);
    assert!(ok, "{err}");
    hub.reset();
    let theirs = Storage::new(at(&hub, &home, &[])).unwrap();
    assert_eq!((read_all(&theirs, SLIM, NAME), sent(&hub)), (Ok(11), 0));
    let offline = Storage::new(at(&hub, &home, &[("HF_HUB_OFFLINE", "1")])).unwrap();
    assert_eq!(read_all(&offline, SLIM, NAME), Ok(11));
}
