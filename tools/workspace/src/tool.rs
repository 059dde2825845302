//! The packages under `tools/` that do a command's work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cargo, shown};

/// A command that runs the program of a package under `tools/`, in the current folder. It is built in the profile of xtask,
/// with which it shares what it depends on.
pub fn tool(root: &Path, package: &str) -> Command {
    let mut command = cargo();
    command
        .args(["run", "--quiet", "--locked", "--profile=xtask"])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg(format!("--package={package}"))
        .arg("--");
    command
}

/// The folder of the default corpus, made if it isn't there yet.
///
/// # Errors
/// The list does not match the crates, or the folder can't be written.
pub fn corpus(root: &Path) -> Result<PathBuf> {
    let mut command = tool(root, "evenburn-corpus");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", shown(&command)))?;
    if !output.status.success() {
        bail!("{} failed ({})", shown(&command), output.status);
    }
    let folder = String::from_utf8(output.stdout).context("the corpus's folder is no UTF-8")?;
    std::path::absolute(folder.trim_end()).context("the corpus's folder")
}
