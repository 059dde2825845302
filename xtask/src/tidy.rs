//! What no compiler checks: text that belongs to one machine, leftovers, missing lints, broken presets, files of no module,
//! names where they don't belong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use evenburn_workspace::{capture, say};

use crate::{invariants, orphans};

/// Places that exist on one machine only. Written in two parts, so that this file has none of them.
const PLACES: [&str; 7] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/t", "mp/"),
    concat!("\\Us", "ers\\"),
    concat!("../sha", "red"),
];

/// What is not finished.
const LEFTOVERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("db", "g!("),
];

/// Allows one line, where a test needs such a text.
const ALLOW: &str = concat!("tidy: ", "allow");

/// A Rust file longer than this probably has two ideas.
const LONG: usize = 500;

/// Files that programs write.
const GENERATED: [&str; 2] = ["Cargo.lock", "configs/corpus.toml"];

/// Checks every file of the repository at `root` and prints warnings.
///
/// # Errors
/// Each fault with its file and line.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    let mut sources = Vec::new();
    let files = files(root)?;
    for file in &files {
        let name = file.to_string_lossy().replace('\\', "/");
        let bytes = match fs::read(root.join(file)) {
            Ok(bytes) => bytes,
            // Deleted and not yet committed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("reading {name}")),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        faults.extend(faults_of(&name, &text));
        let lines = text.lines().count();
        if is_kind(&name, "rs") && lines > LONG {
            say!("warning: {name} has {lines} lines; past {LONG} it probably has two ideas")?;
        }
        if is_kind(&name, "rs") {
            sources.push((name, text));
        }
    }
    faults.extend(invariants::faults(&sources));
    for orphan in orphans::find(root, &files)? {
        faults.push(format!("{}: in no module tree", orphan.display()));
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{} faults:\n  {}", faults.len(), faults.join("\n  "));
}

/// The faults of one file.
fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !GENERATED.contains(&name) {
        for (number, line) in text.lines().enumerate() {
            let found = PLACES
                .iter()
                .chain(&LEFTOVERS)
                .find(|word| line.contains(**word))
                .filter(|_| !line.contains(ALLOW));
            if let Some(word) = found {
                faults.push(format!("{name}:{}: `{word}`", number + 1));
            }
        }
    }
    if name.starts_with("configs/")
        && is_kind(name, "toml")
        && let Err(error) = text.parse::<toml::Table>()
    {
        faults.push(format!("{name}: {}", error.to_string().trim_end()));
    }
    if name.ends_with("Cargo.toml") {
        faults.extend(lints(name, text));
    }
    faults
}

fn is_kind(name: &str, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found == extension)
}

/// Every package takes the lints of the workspace.
fn lints(name: &str, text: &str) -> Option<String> {
    match text.parse::<toml::Table>() {
        Err(error) => Some(format!("{name}: {}", error.to_string().trim_end())),
        Ok(manifest) => {
            let inherits = manifest
                .get("lints")
                .and_then(|lints| lints.get("workspace"))
                .and_then(toml::Value::as_bool)
                == Some(true);
            (manifest.contains_key("package") && !inherits)
                .then(|| format!("{name}: no `[lints] workspace = true`"))
        }
    }
}

/// The repository's files: what git knows or would add; without git, all but what is built or recorded.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = capture(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]));
    if let Ok(listed) = listed {
        let mut files: Vec<_> = listed
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .collect();
        files.sort();
        files.dedup();
        return Ok(files);
    }
    let mut files = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let kind = entry.file_type()?;
            let built = ["target", "runs", ".git"]
                .iter()
                .any(|name| path == Path::new(name));
            if kind.is_dir() && !built {
                open.push(path);
            } else if kind.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_leftovers_are_found_with_their_line() {
        for word in PLACES.iter().chain(&LEFTOVERS) {
            let text = format!("fine\nsee {word}x\nsee {word}x // {ALLOW}\n");
            assert_eq!(
                faults_of("docs/a.md", &text),
                [format!("docs/a.md:2: `{word}`")]
            );
        }
        assert!(faults_of("Cargo.lock", PLACES[0]).is_empty());
    }

    #[test]
    fn presets_parse_and_packages_take_the_lints() {
        assert_eq!(faults_of("configs/a.toml", "x = \n").len(), 1);
        assert!(faults_of("configs/a.toml", "x = 1\n").is_empty());
        let bare = "[package]\nname = \"a\"\n";
        assert_eq!(
            faults_of("crates/a/Cargo.toml", bare),
            ["crates/a/Cargo.toml: no `[lints] workspace = true`"]
        );
        let with = format!("{bare}[lints]\nworkspace = true\n");
        assert!(faults_of("crates/a/Cargo.toml", &with).is_empty());
        assert!(faults_of("Cargo.toml", "[workspace]\n").is_empty());
    }
}
