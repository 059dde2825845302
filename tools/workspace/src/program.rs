//! Builds: of the program for a backend, and of what a tool measures.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{Backend, capture, cargo, mpi, run, shown};

/// How long a build goes on without saying how far it is; a unit that takes longer is silent.
const EVERY: Duration = Duration::from_secs(30);

/// The program's file name.
fn name() -> String {
    format!("evenburn{}", std::env::consts::EXE_SUFFIX)
}

/// Whether a program, of whatever backend, has been built before.
pub fn is_there(root: &Path, debug: bool) -> bool {
    let folder = root.join("target").join(profile(debug));
    folder.join(name()).exists()
}

/// The folder of a profile below `target`.
fn profile(debug: bool) -> &'static str {
    if debug { "debug" } else { "release" }
}

/// The arguments with which Cargo builds the program with features of its package: a backend, and `mpi`.
pub fn program_arguments(features: &[&str], debug: bool) -> Vec<String> {
    let mut arguments = vec![
        "--locked".to_owned(),
        "--package=evenburn-cli".to_owned(),
        "--bin=evenburn".to_owned(),
        "--no-default-features".to_owned(),
        format!("--features={}", features.join(",")),
    ];
    if !debug {
        arguments.push("--release".to_owned());
    }
    arguments
}

/// The units of compilation that a build would have. Cargo tells them where features under test are allowed; nothing is built.
///
/// # Errors
/// Cargo refuses the arguments, or tells something else.
pub fn units(root: &Path, arguments: &[String]) -> Result<usize> {
    #[derive(Deserialize)]
    struct Graph {
        units: Vec<serde::de::IgnoredAny>,
    }
    let mut command = cargo();
    command
        .current_dir(root)
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["build", "--unit-graph", "-Zunstable-options"])
        .args(arguments);
    let graph: Graph = serde_json::from_str(&capture(&mut command)?)
        .context("cargo wrote a unit graph of an unknown shape")?;
    Ok(graph.units.len())
}

/// The package whose tests need an adapter. Built with the others it would double what their tests wait for, and change the
/// features of what all stand on.
const ON_AN_ADAPTER: &str = "evenburn-cube";

/// The choice of every package but the one on an adapter, and of MPI where there is one. Cargo unites the features of the packages
/// that it builds at once: whatever else is chosen has Burn in another form (`derive_more` with one feature less, and all that stands
/// on it), built for minutes a second time.
pub fn together() -> Vec<&'static str> {
    let mut all = vec!["--workspace", "--exclude", ON_AN_ADAPTER];
    if mpi::is_there() {
        all.push(mpi::FOR_TESTS);
    }
    all
}

/// The smallest test there is. Where a test is built too, Cargo adds to the features those that only tests depend on: a tool built
/// with it stands on the same builds as the tests do.
const A_TEST: &str = "--test=options";

/// Builds a program of the workspace and returns its path.
///
/// # Errors
/// The build fails.
pub fn build_tool(root: &Path, name: &str, debug: bool) -> Result<PathBuf> {
    let mut command = cargo();
    command
        .current_dir(root)
        .args(["build", "--locked"])
        .args(together())
        .arg(format!("--bin={name}"))
        .arg(A_TEST);
    if !debug {
        command.arg("--release");
    }
    run(&mut command)?;
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    Ok(root.join("target").join(profile(debug)).join(name))
}

/// Builds the program and returns its path. Beside Cargo's own progress a line tells how far it is, when a unit ends and half a
/// minute has passed.
///
/// # Errors
/// The build fails.
pub fn build(root: &Path, backend: Backend, debug: bool) -> Result<PathBuf> {
    let arguments = program_arguments(&[backend.name()], debug);
    build_with(root, &arguments).with_context(|| format!("the build for {}", backend.name()))
}

/// The same for ranks that are processes.
///
/// # Errors
/// The build fails; it says which packages MPI needs where one is missing.
pub fn build_for_ranks(root: &Path, backend: Backend, debug: bool) -> Result<PathBuf> {
    mpi::require()?;
    let arguments = program_arguments(&[backend.name(), mpi::FEATURE], debug);
    build_with(root, &arguments)
        .with_context(|| format!("the build for {} with MPI", backend.name()))
}

/// Builds the program of any commit's files as `cargo build --release` does there, and returns its path.
///
/// # Errors
/// The build fails.
pub fn build_tree(tree: &Path, target: &Path) -> Result<PathBuf> {
    let target = format!("--target-dir={}", target.display());
    build_with(tree, &["--locked".into(), "--release".into(), target])
        .with_context(|| format!("the build in {}", tree.display()))
}

fn build_with(root: &Path, arguments: &[String]) -> Result<PathBuf> {
    // The progress does without where Cargo doesn't tell.
    let total = units(root, arguments).ok();
    let mut command = cargo();
    command
        .current_dir(root)
        .arg("build")
        .args(arguments)
        // Artifacts on stdout, warnings and progress on the terminal.
        .arg("--message-format=json-render-diagnostics");
    let mut child = command
        .stderr(Stdio::inherit())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(&command)))?;
    let messages = child.stdout.take().context("cargo has no output")?;
    let (mut done, mut found) = (0, None);
    let (start, mut said) = (Instant::now(), Instant::now());
    for line in BufReader::new(messages).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(&line?) else {
            continue;
        };
        done += usize::from(is_unit(&message));
        found = executable(&message).or(found);
        if said.elapsed() >= EVERY {
            said = Instant::now();
            eprintln!("{}", progress(done, total, start.elapsed()));
        }
    }
    let status = child.wait().context("waiting for cargo")?;
    if !status.success() {
        bail!("it failed ({status})");
    }
    if start.elapsed() >= EVERY {
        eprintln!("built in {}", minutes(start.elapsed()));
    }
    found.context("the build named no executable `evenburn`")
}

/// `12 of 426 units built, 1:30 min`.
fn progress(done: usize, total: Option<usize>, elapsed: Duration) -> String {
    let of = total.map_or_else(String::new, |total| format!(" of {total}"));
    format!("{done}{of} units built, {}", minutes(elapsed))
}

fn minutes(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02} min", seconds / 60, seconds % 60)
}

/// Whether a message of Cargo's ends a unit: something is compiled, or a build script has run.
fn is_unit(message: &serde_json::Value) -> bool {
    message["reason"] == "compiler-artifact" || message["reason"] == "build-script-executed"
}

/// The path in Cargo's message about the finished binary.
fn executable(message: &serde_json::Value) -> Option<PathBuf> {
    (message["reason"] == "compiler-artifact" && message["target"]["name"] == "evenburn")
        .then(|| message["executable"].as_str().map(PathBuf::from))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let message = |executable: serde_json::Value| json!({"reason": "compiler-artifact", "target": {"name": "evenburn"}, "executable": executable});
        assert_eq!(
            executable(&message(json!("a/evenburn"))),
            Some(PathBuf::from("a/evenburn"))
        );
        assert_eq!(executable(&message(json!(null))), None);
        assert!(is_unit(&message(json!(null))));
        assert!(is_unit(&json!({"reason": "build-script-executed"})));
        assert!(!is_unit(&json!({"reason": "build-finished"})));
    }

    #[test]
    fn progress_has_units_and_time() {
        let time = Duration::from_secs(90);
        assert_eq!(
            progress(12, Some(426), time),
            "12 of 426 units built, 1:30 min"
        );
        assert_eq!(progress(12, None, time), "12 units built, 1:30 min");
    }
}
