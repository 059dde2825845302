//! A tiny corpus and a tiny model, for tests that train.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use evenburn_data::{Corpus, prepare};
use evenburn_train::Registry;
use evenburn_train::config::{Resolved, RunConfig};
use evenburn_train::{Start, Summary, TrainError, Trainer};

/// A folder with a corpus, its cache and the runs of one test.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
}

/// Sentences from a small grammar: text a tiny model learns something of.
fn text() -> String {
    let nouns = [
        "norm", "scale", "branch", "stream", "gradient", "weight", "head", "token",
    ];
    let verbs = ["scales", "follows", "precedes", "divides", "keeps", "moves"];
    let mut state = 12_345_u64;
    let mut draw = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n
    };
    let mut text = String::new();
    for document in 0..120 {
        for _ in 0..8 {
            let (a, v, b) = (draw(nouns.len()), draw(verbs.len()), draw(nouns.len()));
            let _ = write!(text, "the {} {} the {}. ", nouns[a], verbs[v], nouns[b]);
        }
        let _ = writeln!(text, "this was document {document}.\n<|endoftext|>");
    }
    text
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("text.txt"), text()).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration of the tests as TOML.
    pub(crate) fn toml(&self, scheme: &str) -> String {
        format!(
            r#"
[run]
name = "tiny"
dir = '{runs}'

[model]
vocab_size = 300
dim = 16
layers = 2
heads = 2
hidden = 32
context = 16

[norm]
scheme = "{scheme}"

[optim]
lr = 0.01

[data]
path = '{text}'
validation_fraction = 0.1
tokenizer_vocab = 300

[train]
steps = 40
batch_size = 2
accumulate = 2
eval_every = 10
eval_tokens = 256
checkpoint_every = 8
sample_tokens = 8

[metrics]
norms_every = 5
"#,
            runs = self.path("runs").display(),
            text = self.path("text.txt").display(),
        )
    }

    pub(crate) fn resolve(
        &self,
        scheme: &str,
        overrides: &[(&str, &str)],
    ) -> Result<Resolved, TrainError> {
        let overrides: Vec<_> = overrides
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        RunConfig::from_toml(
            &Registry::default(),
            "tiny.toml",
            &self.toml(scheme),
            &overrides,
        )
    }

    pub(crate) fn corpus(&self, resolved: &Resolved) -> Corpus {
        prepare(&resolved.config.data, &self.path("cache"), &()).unwrap()
    }

    /// A trainer of one of the built-in schemes.
    pub(crate) fn trainer(
        &self,
        scheme: &str,
        overrides: &[(&str, &str)],
        start: Start,
    ) -> Trainer {
        let resolved = self.resolve(scheme, overrides).unwrap();
        let corpus = self.corpus(&resolved);
        Trainer::new(&Registry::default(), resolved, corpus).start(start)
    }

    /// Changes the state of every checkpoint of a run, as a program that wrote another one would have.
    pub(crate) fn edit_state(&self, run: &str, edit: impl Fn(&mut serde_json::Value)) {
        for entry in std::fs::read_dir(self.path(run).join("checkpoints")).unwrap() {
            let checkpoint = entry.unwrap().path();
            let file = checkpoint.join("state.json");
            let Ok(text) = std::fs::read(&file) else {
                continue;
            };
            let mut state = serde_json::from_slice(&text).unwrap();
            edit(&mut state);
            std::fs::write(&file, state.to_string()).unwrap();
            let sums: String = ["model.safetensors", "optim.safetensors", "state.json"]
                .map(|name| {
                    let bytes = std::fs::read(checkpoint.join(name)).unwrap();
                    format!("{}  {name}\n", blake3::hash(&bytes).to_hex())
                })
                .concat();
            std::fs::write(checkpoint.join("checksums.b3"), sums).unwrap();
        }
    }

    pub(crate) fn fresh(&self, run: &str) -> Start {
        Start::Fresh(Some(self.path(run)))
    }

    pub(crate) fn resume(&self, run: &str) -> Start {
        Start::Continue(self.path(run))
    }

    pub(crate) fn run(
        &self,
        scheme: &str,
        overrides: &[(&str, &str)],
        start: Start,
    ) -> Result<Summary, TrainError> {
        self.trainer(scheme, overrides, start).run()
    }
}

/// The lines of a run's `metrics.jsonl`.
pub(crate) fn metrics(run: &Path) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Asserts that two runs logged the same for every step, but for how fast and how large they were.
pub(crate) fn assert_same_history(a: &Path, b: &Path) {
    let keep = |run: &Path| {
        let mut lines = metrics(run);
        for line in &mut lines {
            line.retain(|name, _| !name.starts_with("perf/") && !name.starts_with("mem/"));
        }
        lines
    };
    let (a, b) = (keep(a), keep(b));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.into_iter().zip(b) {
        assert_eq!(a, b);
    }
}

/// Asserts that two checkpoints have the same bytes in every file that holds numbers.
pub(crate) fn assert_same_checkpoint(a: &Path, b: &Path) {
    for file in ["model.safetensors", "optim.safetensors"] {
        let (x, y) = (
            std::fs::read(a.join(file)).unwrap(),
            std::fs::read(b.join(file)).unwrap(),
        );
        assert!(
            x == y,
            "{file} of {} and {} differ",
            a.display(),
            b.display()
        );
    }
}
