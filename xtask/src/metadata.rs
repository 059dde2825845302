//! What Cargo says of the workspace's packages.

use std::path::Path;

use anyhow::{Context, Result};
use evenburn_workspace::{capture, cargo};
use serde::de::DeserializeOwned;

/// The members of the workspace at `root`, without what they depend on from elsewhere; `T` has the fields that are asked for.
///
/// # Errors
/// Cargo can't read the workspace, or writes something of another shape.
pub(crate) fn read<T: DeserializeOwned>(root: &Path) -> Result<T> {
    let text = capture(cargo().current_dir(root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--no-deps",
    ]))?;
    serde_json::from_str(&text).context("cargo metadata wrote JSON of an unknown shape")
}
