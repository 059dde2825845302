//! The arrows of the architecture: which package of the workspace depends on which, and which know no backend.

mod page;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use evenburn_workspace::{capture, cargo};
use serde::Deserialize;

use crate::metadata;

/// What each package depends on, as `docs/architecture.md` says too. A package under `crates/` or `tools/` that isn't here is
/// an error; tests and examples may depend on all of these, and nothing on them.
const ARROWS: [(&str, &[&str]); 24] = [
    ("evenburn-allocator", &[]),
    ("evenburn-files", &[]),
    ("evenburn-geometry", &[]),
    ("evenburn-ranks", &[]),
    ("evenburn-cube", &[]),
    ("evenburn-kernels", &["evenburn-cube"]),
    ("evenburn-locations", &["evenburn-files"]),
    ("evenburn-data", &["evenburn-files", "evenburn-locations"]),
    (
        "evenburn-eval",
        &[
            "evenburn-data",
            "evenburn-files",
            "evenburn-locations",
            "evenburn-model",
        ],
    ),
    ("evenburn-model", &["evenburn-geometry", "evenburn-kernels"]),
    (
        "evenburn-conformance",
        &["evenburn-geometry", "evenburn-kernels", "evenburn-model"],
    ),
    ("evenburn-optim", &["evenburn-geometry", "evenburn-kernels"]),
    (
        "evenburn-interchange",
        &["evenburn-files", "evenburn-model"],
    ),
    (
        "evenburn-train",
        &[
            "evenburn-data",
            "evenburn-eval",
            "evenburn-files",
            "evenburn-geometry",
            "evenburn-kernels",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-ranks",
        ],
    ),
    (
        "evenburn",
        &[
            "evenburn-data",
            "evenburn-eval",
            "evenburn-geometry",
            "evenburn-interchange",
            "evenburn-kernels",
            "evenburn-locations",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-ranks",
            "evenburn-train",
        ],
    ),
    (
        "evenburn-cli",
        &[
            "evenburn",
            "evenburn-allocator",
            "evenburn-data",
            "evenburn-eval",
            "evenburn-files",
            "evenburn-interchange",
            "evenburn-kernels",
            "evenburn-locations",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-ranks",
            "evenburn-train",
        ],
    ),
    // Light: xtask stands before every command, and starts the tools.
    ("evenburn-workspace", &[]),
    ("xtask", &["evenburn-files", "evenburn-workspace"]),
    ("evenburn-corpus", &["evenburn-files", "evenburn-workspace"]),
    ("evenburn-bench", &["evenburn-workspace"]),
    ("evenburn-reference", &["evenburn-workspace"]),
    (
        "evenburn-parity",
        &[
            "evenburn",
            "evenburn-eval",
            "evenburn-geometry",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-workspace",
        ],
    ),
    (
        "evenburn-docs",
        &[
            "evenburn",
            "evenburn-geometry",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-parity",
            "evenburn-train",
        ],
    ),
    (
        "evenburn-bench-workers",
        &[
            "evenburn",
            "evenburn-allocator",
            "evenburn-eval",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-parity",
            "evenburn-train",
        ],
    ),
];

/// Where libraries lie, and where tools.
const FOLDERS: [&str; 2] = ["crates", "tools"];

/// The one package under `crates/` that tells errors to people.
const PROGRAM: &str = "evenburn-cli";
const ANYHOW: &str = "anyhow";

/// The packages that leave the choice of a backend to whoever builds the binary: without their default features, they name none.
const WITHOUT_BACKEND: [&str; 5] = [
    "evenburn-geometry",
    "evenburn-interchange",
    "evenburn-model",
    "evenburn-optim",
    "evenburn-data",
];

/// Burn's backends and what they stand on.
const BACKENDS: [&str; 16] = [
    "burn-candle",
    "burn-cpu",
    "burn-cubecl",
    "burn-cuda",
    "burn-flex",
    "burn-ndarray",
    "burn-remote",
    "burn-rocm",
    "burn-tch",
    "burn-wgpu",
    "cubecl-cpu",
    "cubecl-cuda",
    "cubecl-hip",
    "cubecl-wgpu",
    "cudarc",
    "wgpu",
];

/// What a crate that embeds the model doesn't wait for: a file format, a tokenizer, a terminal, a build in C.
const NOT_IN_THE_MODEL: [&str; 9] = [
    "parquet",
    "tokenizers",
    "onig_sys",
    "zstd-sys",
    "ratatui",
    "crossterm",
    "indicatif",
    "tikv-jemalloc-sys",
    "ureq",
];

/// What belongs to a program: a command line, signals, a terminal, an allocator.
const NOT_IN_THE_LIBRARY: [&str; 6] = [
    "clap",
    "signal-hook",
    "ctrlc",
    "ratatui",
    "crossterm",
    "tikv-jemalloc-sys",
];

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A member of the workspace as its manifest declares it.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

impl Package {
    fn knows(&self, name: &str) -> bool {
        self.dependencies
            .iter()
            .any(|dependency| dependency.name == name && dependency.kind.as_deref() != Some("dev"))
    }
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `None` for a normal dependency.
    kind: Option<String>,
}

/// Checks every arrow of the workspace at `root`.
///
/// # Errors
/// Each forbidden dependency, by name.
pub(crate) fn check(root: &Path) -> Result<()> {
    let metadata: Metadata = metadata::read(root)?;
    let mut faults = wrong(&metadata.packages, &FOLDERS.map(|name| root.join(name)));
    faults.extend(page::check(root)?);
    let members: BTreeSet<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    for package in WITHOUT_BACKEND
        .into_iter()
        .filter(|name| members.contains(name))
    {
        faults.extend(among(
            package,
            &tree(root, package, &["--no-default-features"])?,
            &BACKENDS,
            "a backend",
        ));
    }
    let why = "a crate on the model does without";
    let model = tree(root, "evenburn-model", &[])?;
    faults.extend(among("evenburn-model", &model, &NOT_IN_THE_MODEL, why));
    let why = "a library leaves it to the program";
    let library = tree(root, "evenburn", &[])?;
    faults.extend(among("evenburn", &library, &NOT_IN_THE_LIBRARY, why));
    if faults.is_empty() {
        return Ok(());
    }
    bail!("forbidden dependencies:\n  {}", faults.join("\n  "));
}

/// The dependencies among members that [`ARROWS`] doesn't have, and those that it has and no manifest. Those of tests (`dev`)
/// don't count.
fn wrong(packages: &[Package], folders: &[PathBuf; 2]) -> Vec<String> {
    let members: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package.name.as_str();
        let rule = ARROWS.iter().find(|(known, _)| *known == name);
        let inside = |folder: &PathBuf| package.manifest_path.starts_with(folder);
        if rule.is_none() && folders.iter().any(inside) {
            faults.push(format!("{name} has no arrows in xtask/src/arrows"));
            continue;
        }
        if inside(&folders[0]) && name != PROGRAM && package.knows(ANYHOW) {
            faults.push(format!(
                "{name} -> {ANYHOW}: libraries have errors of their own"
            ));
        }
        let found: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
            .map(|dependency| dependency.name.as_str())
            .filter(|name| members.contains(name))
            .collect();
        let allowed: BTreeSet<&str> = match rule {
            Some((_, allowed)) => allowed.iter().copied().collect(),
            None => ARROWS.iter().map(|(name, _)| *name).collect(),
        };
        for other in found.difference(&allowed) {
            faults.push(format!("{name} -> {other} is not allowed"));
        }
        if rule.is_some() {
            for other in allowed.difference(&found) {
                faults.push(format!("{name} -> {other} is allowed and not there"));
            }
        }
    }
    faults
}

/// What a package stands on with the given features, a name and a version a line.
fn tree(root: &Path, package: &str, features: &[&str]) -> Result<String> {
    let mut command = cargo();
    command.current_dir(root).args(["tree", "--locked"]);
    command.args(["--edges=normal", "--prefix=none", "--format={p}"]);
    capture(command.arg(format!("--package={package}")).args(features))
}

/// Which of `names` are among the packages of a tree.
fn among(package: &str, tree: &str, names: &[&str], what: &str) -> Vec<String> {
    let found: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| names.contains(name))
        .collect();
    found
        .into_iter()
        .map(|name| format!("{package} -> … -> {name} ({what})"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, folder: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.to_owned(),
            manifest_path: Path::new("/r").join(folder).join("Cargo.toml"),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                })
                .collect(),
        }
    }

    fn faults(mut packages: Vec<Package>) -> Vec<String> {
        for name in ["evenburn-geometry", "evenburn-cube"] {
            packages.push(package(name, "crates/x", &[]));
        }
        let folders = FOLDERS.map(|name| Path::new("/r").join(name));
        wrong(&packages, &folders)
    }

    #[test]
    fn allowed_arrows_and_outside_crates_pass() {
        let kernels = [
            ("evenburn-cube", None),
            ("burn", None),
            ("evenburn-geometry", Some("dev")),
        ];
        let tests = package("evenburn-tests", "tests", &[("evenburn-cube", None)]);
        assert!(
            faults(vec![
                package("evenburn-kernels", "crates/kernels", &kernels),
                tests
            ])
            .is_empty()
        );
    }

    #[test]
    fn forbidden_arrows_and_lost_ones_are_named() {
        let kernels = package(
            "evenburn-kernels",
            "crates/kernels",
            &[("evenburn-geometry", None)],
        );
        assert_eq!(
            faults(vec![kernels]),
            [
                "evenburn-kernels -> evenburn-geometry is not allowed",
                "evenburn-kernels -> evenburn-cube is allowed and not there"
            ]
        );
        let build = package(
            "evenburn-files",
            "crates/files",
            &[("evenburn-cube", Some("build"))],
        );
        assert_eq!(
            faults(vec![build]),
            ["evenburn-files -> evenburn-cube is not allowed"]
        );
        let tests = package("evenburn-tests", "tests", &[]);
        let files = package(
            "evenburn-files",
            "crates/files",
            &[("evenburn-tests", None)],
        );
        assert_eq!(
            faults(vec![tests, files]),
            ["evenburn-files -> evenburn-tests is not allowed"]
        );
    }

    #[test]
    fn a_new_library_or_tool_needs_its_arrows() {
        for folder in ["crates/new", "tools/new"] {
            let new = package("evenburn-new", folder, &[]);
            assert_eq!(
                faults(vec![new]),
                ["evenburn-new has no arrows in xtask/src/arrows"]
            );
        }
    }

    #[test]
    fn a_backend_in_a_tree_is_named_once() {
        let tree = "evenburn-model v0.1.0 (/r/crates/model)\nburn v0.23.0\nburn-flex v0.23.0\nburn-flex v0.23.0 (*)\n";
        assert_eq!(
            among("evenburn-model", tree, &BACKENDS, "a backend"),
            ["evenburn-model -> … -> burn-flex (a backend)"]
        );
    }
}
