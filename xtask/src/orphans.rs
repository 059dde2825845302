//! Rust files that stand in no module tree: no compiler reads them, so nothing tells that they are dead.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::metadata;

/// What Cargo builds, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    targets: Vec<Target>,
}

/// A library, a program, a test, an example, a benchmark or a build script.
#[derive(Debug, Deserialize)]
struct Target {
    src_path: PathBuf,
}

/// The Rust files among `files`, which are paths below `root`, that no target of the workspace reaches by `mod` or `include!`.
pub(crate) fn find(root: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let metadata: Metadata = metadata::read(root)?;
    let targets = metadata
        .packages
        .into_iter()
        .flat_map(|package| package.targets)
        .map(|target| target.src_path);
    let reached = reachable(targets)?;
    Ok(files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        // Deleted and not yet committed.
        .filter(|file| root.join(file).is_file())
        .filter(|file| !reached.contains(&root.join(file)))
        .cloned()
        .collect())
}

/// All files that stand in the module trees of `roots`, themselves included.
fn reachable(roots: impl IntoIterator<Item = PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let mut reached = BTreeSet::new();
    // Each with the folder in which the files of its modules lie.
    let mut open: Vec<(PathBuf, PathBuf)> = roots
        .into_iter()
        .map(|file| {
            let folder = parent(&file);
            (file, folder)
        })
        .collect();
    while let Some((file, folder)) = open.pop() {
        // A declaration may be for a system of another kind; what is missing here the compiler tells.
        if !file.is_file() || !reached.insert(file.clone()) {
            continue;
        }
        let text =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        for named in declarations(&text) {
            match named {
                Named::Module(path) => {
                    let inside = folder.join(&path);
                    let beside = inside.with_extension("rs");
                    open.push((inside.join("mod.rs"), inside.clone()));
                    open.push((beside, inside));
                }
                Named::File(path) => {
                    let file = plain(&parent(&file).join(path));
                    let folder = parent(&file);
                    open.push((file, folder));
                }
            }
        }
    }
    Ok(reached)
}

fn parent(file: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).to_path_buf()
}

/// A path without `..`, as Cargo and git write it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// A file that a source names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// `mod a;`, with the modules around it that are written inline.
    Module(PathBuf),
    /// The path of `#[path = "…"] mod a;` or `include!("…")`.
    File(String),
}

/// The files that a source names. It is formatted as the stage `fmt` has it: a declaration is a line of its own, and what is
/// inside an inline module stands further to the right.
fn declarations(text: &str) -> Vec<Named> {
    let mut found = Vec::new();
    let mut inline: Vec<(usize, &str)> = Vec::new();
    let mut path = None;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code.is_empty() {
            continue;
        }
        while inline.last().is_some_and(|(outer, _)| *outer >= indent) {
            inline.pop();
        }
        if let Some(rest) = code.strip_prefix("#[path = \"") {
            path = rest.split('"').next().map(str::to_owned);
            continue;
        }
        if let Some((_, rest)) = code.split_once("include!(\"")
            && !code.starts_with("//")
        {
            found.extend(rest.split('"').next().map(|file| Named::File(file.into())));
        }
        if let Some(rest) = without_visibility(code).strip_prefix("mod ") {
            if let Some((name, _)) = rest.split_once(';') {
                let outer = inline.iter().map(|(_, name)| *name);
                let module = || Named::Module(outer.chain([name]).collect());
                found.push(path.take().map_or_else(module, Named::File));
            } else if let Some(name) = rest.strip_suffix(" {") {
                inline.push((indent, name));
            }
        }
        // Other attributes may stand between.
        if !code.starts_with('#') {
            path = None;
        }
    }
    found
}

/// A line without `pub` or `pub(…)`.
fn without_visibility(code: &str) -> &str {
    let Some(rest) = code.strip_prefix("pub") else {
        return code;
    };
    match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(") ").map_or(code, |(_, rest)| rest),
        None => rest.trim_start(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_of_every_kind_are_read() {
        let text = "//! mod not;\nmod a;\npub mod b;\npub(in crate::x) mod c;\n#[path = \"far/d.rs\"]\n#[cfg(test)]\nmod d;\n\
                    mod e {\n    mod f;\n\n    pub(crate) mod g {\n        mod h;\n    }\n}\nmod i;\ninclude!(\"../k.rs\");\nlet x = 1;\n";
        let module = |path: &str| Named::Module(path.into());
        let file = |path: &str| Named::File(path.into());
        assert_eq!(
            declarations(text),
            [
                module("a"),
                module("b"),
                module("c"),
                file("far/d.rs"),
                module("e/f"),
                module("e/g/h"),
                module("i"),
                file("../k.rs")
            ]
        );
    }

    #[test]
    fn files_of_no_module_are_not_reached() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let lib = write("src/lib.rs", "mod a;\nmod b;\n");
        let a = write("src/a.rs", "mod deep;\n");
        let deep = write("src/a/deep.rs", "#[path = \"../other.rs\"]\nmod other;\n");
        let other = write("src/other.rs", "");
        let b = write("src/b/mod.rs", "mod c;\n");
        let c = write("src/b/c.rs", "");
        write("src/orphan.rs", "mod a;\n");
        let reached = reachable([lib.clone()]).unwrap();
        assert_eq!(reached, BTreeSet::from([lib, a, deep, other, b, c]));
    }
}
