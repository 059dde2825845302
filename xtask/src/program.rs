//! The build of the program, and how long it makes one wait.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::cost;
use crate::workspace::{cargo, host, program_arguments, run, shown};

/// A backend, which is a feature of the binary and a device of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The CPU, in pure Rust
    Flex,
    /// NVIDIA GPUs
    Cuda,
    /// GPUs through Vulkan
    Vulkan,
    /// Apple GPUs
    Metal,
    /// GPUs through WebGPU, on whatever the system offers
    Webgpu,
    /// AMD GPUs
    Rocm,
    /// The CPU, with kernels compiled at run time
    Cpu,
}

impl Backend {
    /// The name of the feature and of the device.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Webgpu => "webgpu",
            Self::Rocm => "rocm",
            Self::Cpu => "cpu",
        }
    }
}

/// How long a build goes on without saying how far it is; a unit that takes longer is silent.
const EVERY: Duration = Duration::from_secs(30);

/// Says what comes before the first step, and about how long that takes, where nothing has been built yet; and downloads the
/// crates, so that build and corpus don't wait for each other.
///
/// # Errors
/// A crate can't be had.
pub(crate) fn announce(root: &Path, backend: Backend, debug: bool, corpus: bool) -> Result<()> {
    let folder = root
        .join("target")
        .join(if debug { "debug" } else { "release" });
    if folder.join(name()).exists() {
        return Ok(());
    }
    let mut parts = vec![match waiting(root, backend, debug) {
        Some((fast, slow)) => format!(
            "the program is built, which takes {fast} to {slow} minutes from nothing on {} cores",
            cores()
        ),
        None => "the program is built, which takes some minutes from nothing".into(),
    }];
    if corpus {
        parts.push("the default corpus is written meanwhile".into());
    }
    parts.push("then training starts".into());
    eprintln!(
        "{}; a build that is interrupted goes on where it was",
        parts.join(", ")
    );
    run(cargo()
        .current_dir(root)
        .args(["fetch", "--locked", "--target", &host()?]))
}

/// Minutes of a build from nothing for the CPU: processor time on the machine that recorded it, the faster of two that it was
/// tried on, over the cores of this one; and as many times that as the slower one took. Builds for GPUs were never timed.
fn waiting(root: &Path, backend: Backend, debug: bool) -> Option<(u64, u64)> {
    if debug || backend != Backend::Flex {
        return None;
    }
    let seconds = cost::recorded(root).ok()?.processor_seconds;
    Some(span(seconds, cores()))
}

/// What the slower machine took of the faster one's time (docs/log.md, *What building costs*).
const SLOWER: f64 = 2.5;

/// A build was never timed on more; some crates wait for all others.
const USEFUL_CORES: u64 = 6;

fn span(seconds: u64, cores: u64) -> (u64, u64) {
    let minutes = seconds as f64 / cores.clamp(1, USEFUL_CORES) as f64 / 60.0;
    (minutes.ceil() as u64, (minutes * SLOWER).ceil() as u64)
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

fn name() -> String {
    format!("evenburn{}", std::env::consts::EXE_SUFFIX)
}

/// Builds the program and returns its path. Beside Cargo's own progress a line tells how far it is, when a unit ends and half a
/// minute has passed.
pub(crate) fn build(root: &Path, backend: Backend, debug: bool) -> Result<PathBuf> {
    let arguments = program_arguments(backend.name(), debug);
    // The progress does without where Cargo doesn't tell.
    let total = cost::units(root, &arguments).ok();
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
        bail!("the build for {} failed", backend.name());
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

    #[test]
    fn the_wait_is_estimated_for_the_cpu_alone() {
        assert_eq!(span(600, 2), (5, 13));
        assert_eq!(span(600, 6), (2, 5));
        assert_eq!(span(600, 64), span(600, 6));
        let root = crate::workspace::root().unwrap();
        assert!(waiting(&root, Backend::Flex, false).is_some());
        assert_eq!(waiting(&root, Backend::Cuda, false), None);
        assert_eq!(waiting(&root, Backend::Flex, true), None);
    }
}
