//! The stand-in for the hub, `tests/hub`, and the program beside it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hub")
}

/// The stand-in, with faults from its start.
pub(crate) struct Hub {
    process: Child,
    pub(crate) api: String,
    pub(crate) home: tempfile::TempDir,
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Hub {
    /// `None`, loudly, where there is no python to run it.
    pub(crate) fn start(rules: &Value) -> Option<Self> {
        Self::start_with(&folder().join("repos"), rules)
    }

    /// One that serves the repositories of a folder.
    pub(crate) fn start_with(root: &Path, rules: &Value) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let faults = home.path().join("faults.json");
        fs::write(
            &faults,
            serde_json::json!({"seed": 7, "rules": rules}).to_string(),
        )
        .unwrap();
        let python = if cfg!(windows) { "python" } else { "python3" };
        let started = Command::new(python)
            .arg(folder().join("mock_hub.py"))
            .arg("--root")
            .arg(root)
            .arg("--faults")
            .arg(&faults)
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut process) = started else {
            eprintln!("SKIPPED: no {python} runs the stand-in for the hub");
            return None;
        };
        let mut line = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let api = told["api"].as_str().unwrap().to_owned();
        Some(Self { process, api, home })
    }

    /// The program with an empty cache at first.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenburn-under-test"));
        command
            .args(arguments)
            .env("HF_ENDPOINT", &self.api)
            .env("HF_TOKEN", "hf_good")
            .env("HF_HOME", self.home.path().join("hf"))
            .env("EVENBURN_CACHE", self.home.path().join("own"));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a run that succeeds.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        let failed = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{arguments:?}: {failed}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// The last line of what a run says that fails.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(!ran.status.success(), "{arguments:?}");
        lines(&ran.stderr).pop().unwrap()
    }

    /// Asks the stand-in about itself, or tells it something.
    pub(crate) fn control(&self, path: &str, body: Option<&Value>) -> Value {
        let host = self.api.strip_prefix("http://").unwrap();
        let answer = exchange(
            host,
            path,
            body.map(|body| ("POST", body.to_string().into())),
        );
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// Paths of the files of which bytes were sent.
    pub(crate) fn files_sent(&self) -> Vec<String> {
        let stats = self.control("/_stats", None);
        let paths = stats["paths"].as_object().unwrap();
        paths.keys().cloned().collect()
    }
}

/// One request over a connection of its own, and all of the answer.
pub(crate) fn exchange(host: &str, path: &str, sent: Option<(&str, Vec<u8>)>) -> String {
    let mut stream = TcpStream::connect(host).unwrap();
    let (method, body) = sent.unwrap_or(("GET", Vec::new()));
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}
