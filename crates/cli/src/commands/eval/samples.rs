//! `--log-samples`: each document with its questions and answers.

use anyhow::{Context, Result};
use evenburn_eval::TaskResult;
use evenburn_files::replace;
use std::fs;
use std::path::Path;

/// Writes a line a document.
pub(super) fn write(folder: &Path, result: &TaskResult) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut text = Vec::new();
    for document in &result.docs {
        serde_json::to_writer(&mut text, document)?;
        text.push(b'\n');
    }
    // Names of tasks may have a colon, which not every file system takes.
    let name = result.name.replace(':', "_");
    Ok(replace(&folder.join(format!("{name}.jsonl")), &text)?)
}

/// A model's folder below that of all: its place as one name.
pub(super) fn folder_of(place: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = place
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    name.trim_matches(['_', '.']).to_owned()
}
