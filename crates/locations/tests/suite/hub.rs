//! The stand-in for the hub, `tests/hub/mock_hub.py`, as a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenburn_locations::{
    Clock, Environment, Listing, LocationError, Settings, Storage, StoredFile,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the stand-in and its repositories are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/hub")
}

/// The python that runs it.
pub fn python() -> String {
    let default = if cfg!(windows) { "python" } else { "python3" };
    std::env::var("EVENBURN_PYTHON").unwrap_or_else(|_| default.to_owned())
}

/// A running stand-in; it ends with this.
pub struct Hub {
    process: Child,
    pub api: String,
    home: TempDir,
    homes: std::cell::Cell<u32>,
    fronts: Value,
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Hub {
    /// Starts one; `None`, loudly, where there is no python.
    pub fn start(options: &[&str]) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let started = Command::new(python())
            .arg(folder().join("mock_hub.py"))
            .arg("--root")
            .arg(folder().join("repos"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut process) = started else {
            eprintln!("SKIPPED: no {} runs the stand-in for the hub", python());
            return None;
        };
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Some(Self {
            process,
            api: told["api"].as_str().unwrap().to_owned(),
            home,
            homes: std::cell::Cell::new(0),
            fronts: told["fronts"].clone(),
        })
    }

    /// Where a server behind this one is asked.
    pub fn front(&self, name: &str) -> String {
        self.fronts[name].as_str().unwrap().to_owned()
    }

    fn control(&self, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}{path}", self.api);
        let mut answer = match body {
            Some(body) => ureq::post(&url).send(body.to_string().as_bytes()).unwrap(),
            None => ureq::get(&url).call().unwrap(),
        };
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    /// Forgets what happened, and does these faults from now on.
    pub fn faults(&self, rules: &Value) {
        self.control("/_reset", Some(&json!({"faults": true})));
        self.control("/_faults", Some(&json!({"seed": 7, "rules": rules})));
    }

    pub fn reset(&self) {
        self.control("/_reset", Some(&json!({})));
    }

    pub fn stats(&self) -> Value {
        self.control("/_stats", None)
    }

    pub fn log(&self) -> Vec<Value> {
        let log = self.control("/_log", None);
        log["entries"].as_array().unwrap().clone()
    }

    /// Bytes sent for files, over their sizes.
    pub fn ratio(&self) -> f64 {
        let stats = self.stats();
        let paths = stats["paths"].as_object().unwrap();
        let sum = |field: &str| {
            paths
                .values()
                .map(|p| p[field].as_f64().unwrap())
                .sum::<f64>()
        };
        sum("sent") / sum("size")
    }

    /// Bytes sent of the files whose paths begin so.
    pub fn sent(&self, kind: &str, start: &str) -> u64 {
        let meant = |entry: &&Value| {
            entry["kind"] == kind && entry["path"].as_str().unwrap().starts_with(start)
        };
        let log = self.log();
        log.iter()
            .filter(meant)
            .map(|entry| entry["sent"].as_u64().unwrap())
            .sum()
    }

    /// A folder that nobody has used.
    pub fn new_home(&self) -> PathBuf {
        let number = self.homes.get();
        self.homes.set(number + 1);
        self.home.path().join(number.to_string())
    }

    /// Settings with the good token and an empty cache, on a clock that runs twenty times as fast.
    pub fn settings(&self) -> Settings {
        let home = self.new_home();
        Settings {
            environment: self.environment(&home, &[("HF_TOKEN", "hf_good")]),
            cache: home.join("own"),
            whole_up_to: u64::MAX,
            block: 1 << 20,
            clock: Arc::new(FastClock),
        }
    }

    pub fn environment(&self, home: &Path, more: &[(&str, &str)]) -> Environment {
        let home = home.to_str().unwrap();
        let own = [
            ("HF_ENDPOINT", self.api.as_str()),
            ("HF_HOME", home),
            ("HOME", home),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "1"),
        ];
        own.iter().chain(more).copied().collect()
    }

    pub fn storage(&self) -> Storage {
        Storage::new(self.settings()).unwrap()
    }
}

/// Waits a twentieth of what it should. For servers that don't look at the time.
#[derive(Debug)]
pub struct FastClock;

const SPEED: u32 = 20;

impl Clock for FastClock {
    fn now(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed() * SPEED
    }

    fn date(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration / SPEED);
    }
}

/// Size and SHA-256 of every file of a repository, as they were when it was made.
pub fn expected(repository: &str) -> BTreeMap<String, (u64, String)> {
    let text = fs::read_to_string(folder().join("repos/expected.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let files = all["repos"][repository]["files"].as_object().unwrap();
    let about = |file: &Value| {
        let size = file["size"].as_u64().unwrap();
        (size, file["sha256"].as_str().unwrap().to_owned())
    };
    files
        .iter()
        .map(|(path, file)| (path.clone(), about(file)))
        .collect()
}

pub fn list(storage: &Storage, location: &str) -> Result<Listing, LocationError> {
    storage.list(&location.parse()?)
}

/// The SHA-256 of what a reader of a file gives.
pub fn sha256(file: &dyn StoredFile) -> Result<String, LocationError> {
    let mut reader = file.open()?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|e| {
        LocationError::within(&e)
            .cloned()
            .unwrap_or_else(|| panic!("{e}"))
    })?;
    let hash = digest(&SHA256, &bytes);
    Ok(hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Reads all files of a location; panics where one isn't what it was when it was made.
pub fn read_all(
    storage: &Storage,
    location: &str,
    repository: &str,
) -> Result<usize, LocationError> {
    let expected = expected(repository);
    let files = list(storage, location)?.files;
    for file in &files {
        let (size, digest) = &expected[file.path()];
        assert_eq!(
            (file.size(), &sha256(&**file)?),
            (*size, digest),
            "{}",
            file.path()
        );
    }
    Ok(files.len())
}

/// No message shows what is secret.
pub fn assert_discreet(error: &LocationError) {
    let text = format!("{error} {error:?}");
    for secret in [
        "hf_good",
        "hf_outsider",
        "Signature",
        "Policy",
        "Expires",
        "sig=",
        "cursor=",
    ] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(!error.to_string().contains('\n'), "{error}");
}
