//! The Python whose packages the project is compared with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{capture, run};

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
    let inside = interpreter(&environment);
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

/// Makes an environment on top of the one of [`environment`], which has to be there: its packages, and those of the list
/// `NAME.txt`. Returns its Python.
///
/// # Errors
/// The environment can't be made.
pub fn layer(root: &Path, work: &Path, python: &Path, name: &str) -> Result<PathBuf> {
    let packages = root.join(PACKAGES);
    let list = packages.join(format!("{name}.txt"));
    let below = packages.join("requirements.txt");
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
    };
    let pinned = read(&below)? + &read(&list)?;
    let environment = work.join(name);
    let inside = interpreter(&environment);
    let marker = environment.join("installed.txt");
    if inside.exists() && fs::read_to_string(&marker).is_ok_and(|text| text == pinned) {
        return Ok(inside);
    }
    run(Command::new(python)
        .args(["-m", "venv", "--clear"])
        .arg(&environment))?;
    let folder = |python: &Path| {
        let line = "import sysconfig; print(sysconfig.get_path('purelib'))";
        let told = capture(Command::new(python).args(["-c", line]))?;
        anyhow::Ok(PathBuf::from(told.trim_end()))
    };
    let lower = folder(&interpreter(&work.join("python")))?;
    // Python adds the folders that such a file names to its path, and pip takes what is there as installed.
    let link = folder(&inside)?.join("below.pth");
    let lower = lower.to_str().context("the path is not UTF-8")?;
    fs::write(&link, lower).with_context(|| format!("writing {}", link.display()))?;
    run(Command::new(&inside)
        .args(["-m", "pip", "install", "--quiet"])
        .arg("--disable-pip-version-check")
        .args([Path::new("--constraint"), &below])
        .args([Path::new("--requirement"), &list]))?;
    fs::write(&marker, pinned).with_context(|| format!("writing {}", marker.display()))?;
    Ok(inside)
}

/// The Python of an environment.
fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    })
}
