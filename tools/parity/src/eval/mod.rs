//! Evaluation against numbers of `lm-evaluation-harness`: `cargo xtask parity --eval DIR`.
//!
//! A folder has a model of `transformers` in `model`, documents in `tasks` and what the harness computed of both in
//! `expected.json`. Everything is computed anew of the first two; of the third is read what was asked, and then, to compare,
//! what came out.

mod answers;
mod asked;
mod compare;
mod folder;
mod model;
mod report;
mod rule;

pub use folder::documents_of;
pub use model::Model;
pub use report::{Difference, Eval, Line};

use anyhow::{Context, Result};
use evenburn_eval::TaskRegistry;
use std::path::Path;

/// Computes all that a folder asks for and compares it with what it expects, where it expects anything.
///
/// # Errors
/// The model, a document or `expected.json` can't be read.
pub fn run(path: &Path) -> Result<Eval> {
    let folder = folder::Folder::open(path)?;
    let model = Model::load(&folder.model())?;
    let registry = TaskRegistry::built_in()?;
    let asked = folder.asked(&registry)?;
    let answers = answers::compute(&folder, &model, &registry, &asked)?;
    let lines = match folder.expected() {
        Some(expected) => compare::all(&answers, expected),
        None => compare::none(&answers),
    };
    Ok(Eval {
        lines,
        compared: folder.expected().is_some(),
        notes: asked.notes,
        answers: answers.json(),
    })
}

/// Writes what was computed, in the layout of `expected.json`.
///
/// # Errors
/// The file can't be written.
pub fn write(eval: &Eval, path: &Path) -> Result<()> {
    let text = serde_json::to_string(&eval.answers)? + "\n";
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
