//! Answers of finished tasks in the cache: an evaluation that was interrupted goes on with the others.

use crate::output::tell;
use evenburn_eval::{Prepared, TokenScore};
use evenburn_files::{replace, sha256};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder below the program's cache.
const FOLDER: &str = "evaluations";

/// The answers to a task's questions.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    task: String,
    log_likelihoods: Vec<f64>,
    greedy: Vec<bool>,
    /// How long they took.
    pub(super) seconds: f64,
}

/// Where the answers of one model to one task are kept.
pub(super) struct Shelf(PathBuf);

/// What tells this program from every other build of it.
pub(super) fn program() -> String {
    let bytes = std::env::current_exe().and_then(fs::read);
    bytes.map_or_else(
        |_| env!("CARGO_PKG_VERSION").to_owned(),
        |bytes| sha256(&bytes),
    )
}

impl Shelf {
    /// `how` says whatever else the answers depend on.
    pub(super) fn new(cache: &Path, model: &str, prepared: &Prepared, how: &str) -> Self {
        let asked = prepared.fingerprint();
        let key = sha256(format!("{model}\n{asked}\n{how}").as_bytes());
        Self(cache.join(FOLDER).join(format!("{key}.json")))
    }

    /// The answers, if they are there; files that nobody can read are none.
    pub(super) fn take(&self, prepared: &Prepared) -> Option<Kept> {
        let text = fs::read_to_string(&self.0).ok()?;
        let kept: Kept = serde_json::from_str(&text).ok()?;
        let asked = prepared.requests().len();
        let is_whole = kept.log_likelihoods.len() == asked && kept.greedy.len() == asked;
        is_whole.then_some(kept)
    }

    /// Keeps answers. A cache that can't be written is no reason to end an evaluation.
    pub(super) fn put(&self, task: &str, scores: &[TokenScore], seconds: f64) {
        let kept = Kept {
            task: task.to_owned(),
            log_likelihoods: scores.iter().map(|score| score.log_likelihood).collect(),
            greedy: scores.iter().map(|score| score.greedy).collect(),
            seconds,
        };
        let written = self.0.parent().map_or(Ok(()), fs::create_dir_all);
        let json = serde_json::to_vec(&kept).map_err(|e| e.to_string());
        let kept = written.map_err(|e| e.to_string()).and(json);
        let kept = kept.and_then(|json| replace(&self.0, &json).map_err(|e| e.to_string()));
        if let Err(why) = kept {
            tell!("note: the answers to {task} aren't kept: {why}");
        }
    }
}

impl Kept {
    pub(super) fn scores(&self) -> Vec<TokenScore> {
        let both = self.log_likelihoods.iter().zip(&self.greedy);
        both.map(|(log_likelihood, greedy)| TokenScore {
            log_likelihood: *log_likelihood,
            greedy: *greedy,
        })
        .collect()
    }
}
