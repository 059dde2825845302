//! The arrows of the architecture: which package of the workspace may depend on which, and which know no backend.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::workspace::{capture, cargo};

/// What each package may depend on. A package under `crates/` that isn't here is an error; tests and examples may
/// depend on all of these, and nothing on them.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("evenburn-allocator", &[]),
    ("evenburn-geometry", &[]),
    ("evenburn-cube", &[]),
    ("evenburn-kernels", &["evenburn-cube"]),
    ("evenburn-data", &[]),
    ("evenburn-model", &["evenburn-geometry", "evenburn-kernels"]),
    (
        "evenburn-conformance",
        &["evenburn-geometry", "evenburn-kernels", "evenburn-model"],
    ),
    ("evenburn-optim", &["evenburn-geometry", "evenburn-kernels"]),
    ("evenburn-interchange", &["evenburn-model"]),
    (
        "evenburn-train",
        &[
            "evenburn-geometry",
            "evenburn-kernels",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-data",
        ],
    ),
    (
        "evenburn",
        &[
            "evenburn-geometry",
            "evenburn-kernels",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-data",
            "evenburn-interchange",
            "evenburn-train",
        ],
    ),
    (
        "evenburn-cli",
        &[
            "evenburn-allocator",
            "evenburn-kernels",
            "evenburn-model",
            "evenburn-optim",
            "evenburn-data",
            "evenburn-interchange",
            "evenburn-train",
            "evenburn",
        ],
    ),
    ("xtask", &[]),
];

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
const NOT_IN_THE_MODEL: [&str; 8] = [
    "parquet",
    "tokenizers",
    "onig_sys",
    "zstd-sys",
    "ratatui",
    "crossterm",
    "indicatif",
    "tikv-jemalloc-sys",
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
    let text = capture(cargo().current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--no-deps",
    ]))?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("cargo metadata wrote JSON of an unknown shape")?;
    let mut faults = forbidden(&metadata.packages, &root.join("crates"));
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

/// The dependencies among members that [`ALLOWED`] doesn't have. Those of tests (`dev`) don't count.
fn forbidden(packages: &[Package], libraries: &Path) -> Vec<String> {
    let members: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut faults = Vec::new();
    for package in packages {
        let rule = ALLOWED.iter().find(|(name, _)| *name == package.name);
        if rule.is_none() && package.manifest_path.starts_with(libraries) {
            faults.push(format!(
                "{} lies under crates/ and has no arrows in xtask/src/arrows.rs",
                package.name
            ));
            continue;
        }
        for dependency in &package.dependencies {
            let inside = members.contains(dependency.name.as_str());
            if !inside || dependency.kind.as_deref() == Some("dev") {
                continue;
            }
            let allowed = match rule {
                Some((_, allowed)) => allowed.contains(&dependency.name.as_str()),
                None => ALLOWED.iter().any(|(name, _)| *name == dependency.name),
            };
            if !allowed {
                faults.push(format!("{} -> {}", package.name, dependency.name));
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
        for name in ["evenburn-geometry", "evenburn-optim"] {
            packages.push(package(name, "crates/x", &[]));
        }
        forbidden(&packages, Path::new("/r/crates"))
    }

    #[test]
    fn allowed_arrows_and_outside_crates_pass() {
        let model = [
            ("evenburn-geometry", None),
            ("burn", None),
            ("evenburn-optim", Some("dev")),
        ];
        let tests = package("evenburn-tests", "tests", &[("evenburn-optim", None)]);
        assert!(
            faults(vec![
                package("evenburn-model", "crates/model", &model),
                tests
            ])
            .is_empty()
        );
    }

    #[test]
    fn forbidden_arrows_are_named() {
        let model = package(
            "evenburn-model",
            "crates/model",
            &[("evenburn-optim", None)],
        );
        assert_eq!(faults(vec![model]), ["evenburn-model -> evenburn-optim"]);
        let build = package("xtask", "xtask", &[("evenburn-geometry", Some("build"))]);
        assert_eq!(faults(vec![build]), ["xtask -> evenburn-geometry"]);
        let tests = package("evenburn-tests", "tests", &[]);
        let train = package(
            "evenburn-train",
            "crates/train",
            &[("evenburn-tests", None)],
        );
        assert_eq!(
            faults(vec![tests, train]),
            ["evenburn-train -> evenburn-tests"]
        );
    }

    #[test]
    fn a_new_library_needs_its_arrows() {
        let new = package("evenburn-new", "crates/new", &[]);
        assert!(faults(vec![new])[0].contains("evenburn-new lies under crates/"));
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
