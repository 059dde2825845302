//! The table that the corpus's packages are chosen from.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use evenburn_workspace::say;

use super::graph::{self, Metadata};
use super::list::{List, prose_files};
use super::text::{self, Seen};

/// Bindings and tables made by programs: their comments are lists, not prose.
const GENERATED: [&str; 6] = [
    "libc",
    "linux-raw-sys",
    "web-sys",
    "js-sys",
    "winapi",
    "windows",
];

/// One package's measure.
struct Row {
    name: String,
    version: String,
    files: usize,
    documents: usize,
    bytes: usize,
    /// The share of the bytes that isn't code blocks.
    prose: f64,
    markdown: usize,
}

/// Prints every package of the Flex build on all hosts, largest first.
pub(crate) fn print(root: &Path) -> Result<()> {
    let metadata = Metadata::load(root)?;
    let everywhere = graph::on_every_host(root)?;
    let chosen = List::load(root).map_or_else(|_| Vec::new(), |list| list.packages);
    let mut names = HashSet::new();
    let mut rows = Vec::new();
    for package in metadata.registry() {
        let usable = everywhere.contains(&(package.name.clone(), package.version.clone()))
            && !is_generated(&package.name);
        // Sorted with the newest version first: the others are left out.
        if usable && names.insert(package.name.clone()) {
            rows.push(measure(&package.name, &package.version, package.folder())?);
        }
    }
    rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    say!(
        "{:<28} {:<12} {:>5} {:>5} {:>9} {:>9} {:>6}  split",
        "package",
        "version",
        "files",
        "docs",
        "bytes",
        "markdown",
        "prose"
    )?;
    for row in &rows {
        let split = chosen
            .iter()
            .find(|entry| entry.name == row.name)
            .map_or("", |entry| entry.split.name());
        say!(
            "{:<28} {:<12} {:>5} {:>5} {:>9} {:>9} {:>5.0}%  {split}",
            row.name,
            row.version,
            row.files,
            row.documents,
            row.bytes,
            row.markdown,
            row.prose * 100.0
        )?;
    }
    say!(
        "{} packages, {} bytes",
        rows.len(),
        rows.iter().map(|row| row.bytes).sum::<usize>()
    )?;
    Ok(())
}

fn is_generated(name: &str) -> bool {
    GENERATED.contains(&name)
        || name.ends_with("-sys")
        || name.starts_with("windows-")
        || name.starts_with("windows_")
        || name.starts_with("icu_")
}

/// A package by itself, its own repeats left out.
fn measure(name: &str, version: &str, folder: &Path) -> Result<Row> {
    let files = prose_files(folder)?;
    let mut row = Row {
        name: name.to_owned(),
        version: version.to_owned(),
        files: files.len(),
        documents: 0,
        bytes: 0,
        prose: 0.0,
        markdown: 0,
    };
    let mut seen = Seen::default();
    let mut prose = 0;
    for file in files.keys() {
        let content = fs::read_to_string(folder.join(file))
            .with_context(|| format!("reading {file} of {name}"))?;
        let paragraphs = seen.fresh(text::paragraphs(file, &content));
        if let Some(document) = text::document(&paragraphs) {
            row.documents += 1;
            row.bytes += document.len();
            if text::is_markdown(file) {
                row.markdown += document.len();
            }
            prose += paragraphs
                .iter()
                .filter(|text| !text::is_code(text))
                .map(String::len)
                .sum::<usize>();
        }
    }
    row.prose = prose as f64 / row.bytes.max(1) as f64;
    Ok(row)
}
