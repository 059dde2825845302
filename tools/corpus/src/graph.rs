//! The packages of the Flex build: which there are on every host, and where their sources lie.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use evenburn_workspace::{capture, cargo, host, run};

/// The hosts that must all have a package before the corpus may use it.
const HOSTS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "x86_64-pc-windows-msvc",
    "aarch64-apple-darwin",
];

/// What `cargo metadata` says of this workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    /// Where cargo builds, and where the corpus is cached.
    pub(crate) target_directory: PathBuf,
}

/// A package with sources on this machine.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    manifest_path: PathBuf,
    source: Option<String>,
}

impl Package {
    /// The folder of the sources.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

impl Metadata {
    /// Reads the resolved graph without network. A machine that has built the project has all of it; one that has
    /// not fetches what `Cargo.lock` names first.
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let host = host()?;
        let ask = || {
            capture(cargo().current_dir(root).args([
                "metadata",
                "--format-version=1",
                "--offline",
                "--locked",
                "--manifest-path=crates/cli/Cargo.toml",
                "--no-default-features",
                "--features=flex",
                "--filter-platform",
                &host,
            ]))
        };
        let text = if let Ok(text) = ask() {
            text
        } else {
            eprintln!("fetching the crates that Cargo.lock names");
            run(cargo()
                .current_dir(root)
                .args(["fetch", "--locked", "--target", &host]))?;
            ask()?
        };
        serde_json::from_str(&text).context("cargo metadata wrote JSON of an unknown shape")
    }

    /// The packages that come from a registry, newest version first within a name.
    pub(crate) fn registry(&self) -> Vec<&Package> {
        let mut packages: Vec<_> = self
            .packages
            .iter()
            .filter(|package| {
                package
                    .source
                    .as_deref()
                    .is_some_and(|source| source.starts_with("registry+"))
            })
            .collect();
        packages.sort_by(|a, b| {
            (&a.name, version_key(&b.version)).cmp(&(&b.name, version_key(&a.version)))
        });
        packages
    }
}

/// The (name, version) pairs that the Flex build of the binary needs on every host.
///
/// Unlike [`Metadata::load`] this may ask the registry: it names packages this host never builds.
pub(crate) fn on_every_host(root: &Path) -> Result<BTreeSet<(String, String)>> {
    let mut common: Option<BTreeSet<_>> = None;
    for triple in HOSTS {
        let tree = capture(cargo().current_dir(root).args([
            "tree",
            "--locked",
            "--package=evenburn-cli",
            "--no-default-features",
            "--features=flex",
            "--edges=normal,build",
            "--prefix=none",
            "--no-dedupe",
            "--format={p}",
            "--target",
            triple,
        ]))?;
        let here = parse_tree(&tree);
        common = Some(match common {
            None => here,
            Some(so_far) => so_far.intersection(&here).cloned().collect(),
        });
    }
    Ok(common.unwrap_or_default())
}

/// Lines such as `regex v1.12.3` or `serde_derive v1.0.229 (proc-macro)`.
fn parse_tree(tree: &str) -> BTreeSet<(String, String)> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            let version = words.next()?.strip_prefix('v')?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Orders versions by their numbers; a pre-release sorts by its text, which is enough to choose one of two.
fn version_key(version: &str) -> (Vec<u64>, String) {
    let (numbers, rest) = version
        .split_once(['-', '+'])
        .unwrap_or((version, "\u{10ffff}"));
    let numbers = numbers.split('.').map(|n| n.parse().unwrap_or(0)).collect();
    (numbers, rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_line_is_a_name_and_a_version() {
        let set = parse_tree("regex v1.12.3\nserde_derive v1.0.229 (proc-macro)\n\n");
        assert_eq!(
            set.into_iter().collect::<Vec<_>>(),
            [
                ("regex".to_owned(), "1.12.3".to_owned()),
                ("serde_derive".to_owned(), "1.0.229".to_owned())
            ]
        );
    }

    #[test]
    fn versions_order_by_number_and_a_release_follows_its_pre_release() {
        assert!(version_key("0.10.0") > version_key("0.9.12"));
        assert!(version_key("1.0.0") > version_key("1.0.0-rc.3"));
    }
}
