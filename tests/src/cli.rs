//! The program under test: its binary, a folder of its own, and text to train on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with text, a token cache and the runs of one test.
#[derive(Debug)]
pub struct Sandbox {
    binary: PathBuf,
    folder: PathBuf,
}

/// A model that trains in milliseconds.
const CONFIG: &str = "
[model]
vocab_size = 320
dim = 32
layers = 2
heads = 2
context = 32

[optim]
lr = 0.005
schedule = \"cosine\"

[data]
tokenizer_vocab = 320

[train]
steps = 40
batch_size = 2
accumulate = 2
eval_every = 10
eval_tokens = 256
checkpoint_every = 2
keep = 3
sample_tokens = 8
";

impl Sandbox {
    /// Fills an empty folder for the binary at `binary` (`env!(\"CARGO_BIN_EXE_...\")`).
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn new(binary: &str, folder: &Path) -> std::io::Result<Self> {
        let sandbox = Self {
            binary: PathBuf::from(binary),
            folder: folder.to_owned(),
        };
        let lines = |from: usize, to: usize| -> String {
            (from..to)
                .map(|n| {
                    let text = format!(
                        "Item {n} has {} parts, and part {} weighs {} grams.",
                        n % 7,
                        n % 5,
                        n * n % 97
                    );
                    format!("{}\n", serde_json::json!({ "text": text }))
                })
                .collect()
        };
        for (split, from, to) in [("train", 0, 600), ("validation", 600, 700)] {
            let folder = sandbox.path("text").join(split);
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("items.jsonl"), lines(from, to))?;
        }
        std::fs::write(sandbox.path("tiny.toml"), CONFIG)?;
        Ok(sandbox)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The program with arguments, in the folder, with a cache of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.given(Command::new(&self.binary), arguments)
    }

    /// What `command` is, started by another program: a launcher, say.
    pub fn command_by(&self, mut launcher: Command, arguments: &[&str]) -> Command {
        launcher.arg(&self.binary);
        self.given(launcher, arguments)
    }

    /// A command with arguments, in the folder, with its cache.
    fn given(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("EVENBURN_CACHE", self.path("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Arguments of `train` for a scheme in a run directory.
    pub fn train<'a>(scheme: &'a str, run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["train", "--config", "tiny.toml", "--data.path", "text"];
        arguments.extend(["--norm.scheme", scheme, "--run-dir", run]);
        arguments.extend(more);
        arguments
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn run(&self, arguments: &[&str]) -> std::io::Result<Output> {
        self.command(arguments).output()
    }
}

/// Every file below a folder, with what is in it.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap_or_default();
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// What a run left behind, as far as it must be reproducible: weights, optimizer state, and every figure of the log
/// that is no measurement of time or memory.
#[derive(Debug, PartialEq)]
pub struct Trace {
    /// `model.safetensors` of the last checkpoint.
    pub model: Vec<u8>,
    /// `optim.safetensors` of the last checkpoint.
    pub optim: Vec<u8>,
    /// Lines of `metrics.jsonl` without `perf/` and `mem/`.
    pub metrics: Vec<serde_json::Map<String, serde_json::Value>>,
}

impl Trace {
    /// Reads a run directory at a step.
    ///
    /// # Errors
    /// When a file is missing or a line is no JSON object.
    pub fn read(run: &Path, step: u64) -> anyhow::Result<Self> {
        let checkpoint = run.join("checkpoints").join(format!("step-{step:08}"));
        let text = std::fs::read_to_string(run.join("metrics.jsonl"))?;
        let metrics = text
            .lines()
            .map(|line| {
                let mut fields: serde_json::Map<_, _> = serde_json::from_str(line)?;
                fields.retain(|key, _| !key.starts_with("perf/") && !key.starts_with("mem/"));
                Ok(fields)
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            model: std::fs::read(checkpoint.join("model.safetensors"))?,
            optim: std::fs::read(checkpoint.join("optim.safetensors"))?,
            metrics,
        })
    }
}
