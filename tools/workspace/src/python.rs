//! The Python whose packages the project is compared with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// Where the lists of pinned packages are.
const PACKAGES: &str = "tools/reference";

/// Where environments and what they make are kept.
pub fn scratch(root: &Path) -> PathBuf {
    root.join("target").join("reference")
}

/// Makes the virtual environment, or takes the one whose pinned versions are still the same; returns its Python.
///
/// # Errors
/// The environment can't be made: Python is missing, or the network.
pub fn environment(root: &Path, work: &Path, python: &Path) -> Result<PathBuf> {
    let scripts = root.join(PACKAGES);
    let packages = scripts.join("requirements.txt");
    let alone = scripts.join("without_dependencies.txt");
    let vocabularies = scripts.join("vocabularies.txt");
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let pinned = read(&packages)? + &read(&alone)? + &read(&vocabularies)?;
    let environment = work.join("python");
    let inside = environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    let marker = work.join("installed.txt");
    if inside.exists() && fs::read_to_string(&marker).is_ok_and(|text| text == pinned) {
        return Ok(inside);
    }
    fs::create_dir_all(work).with_context(|| format!("making {}", work.display()))?;
    run(Command::new(python)
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    let pip = |more: &[&str], list: &Path| {
        run(Command::new(&inside)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args(more)
            .arg("--requirement")
            .arg(list))
    };
    pip(&[], &packages)?;
    pip(&["--no-deps"], &alone)?;
    // These are taken for the files in them; what they would import isn't needed.
    let folder = work.join("vocabularies");
    let target = folder
        .to_str()
        .context("the target folder's path is not UTF-8")?;
    pip(
        &["--no-deps", "--upgrade", "--target", target],
        &vocabularies,
    )?;
    if !inside.exists() {
        bail!("the virtual environment has no {}", inside.display());
    }
    fs::write(&marker, pinned).with_context(|| format!("writing {}", marker.display()))?;
    Ok(inside)
}
