//! The MPI of this machine: what building with it needs, and how its launcher is called.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::capture;

/// The feature of the program's package.
pub(crate) const FEATURE: &str = "mpi";

/// The features with which everything that is tested or measured is built.
pub(crate) const FOR_TESTS: &str = "--features=evenburn-tests/mpi,evenburn-bench-workers/mpi";

/// The features of whoever checks all of the workspace at once.
pub const FOR_ALL: &str = "evenburn-cli/mpi,evenburn-tests/mpi,evenburn-bench-workers/mpi";

/// What installs it.
const HELP: &str = "on Debian and Ubuntu: apt install openmpi-bin libopenmpi-dev libclang-dev";

/// Whether a program can be built with MPI and started by its launcher.
pub fn is_there() -> bool {
    missing().is_empty()
}

/// What is missing: programs on the search path, and the library that reads C headers.
fn missing() -> Vec<&'static str> {
    let mut all = Vec::new();
    for program in ["mpirun", "mpicc"] {
        if !on_path(program) {
            all.push(program);
        }
    }
    if !has_libclang() {
        all.push("libclang");
    }
    all
}

/// Checks that nothing is missing.
///
/// # Errors
/// Something is: it is named, and how it is installed.
pub fn require() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "several ranks need an MPI, and there is no {} ({HELP})",
        missing.join(", no ")
    )
}

fn on_path(program: &str) -> bool {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(&name).is_file())
}

/// Where distributions have it; elsewhere the variable that its users set says where.
fn has_libclang() -> bool {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut folders: Vec<PathBuf> = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/opt/homebrew/opt/llvm/lib",
    ]
    .map(PathBuf::from)
    .into();
    for entry in Path::new("/usr/lib")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        folders.push(path.join("lib"));
        folders.push(path);
    }
    let is_it = |name: &OsStr| name.to_string_lossy().starts_with("libclang");
    folders.iter().any(|folder| {
        let mut entries = folder.read_dir().into_iter().flatten().flatten();
        entries.any(|entry| is_it(&entry.file_name()))
    })
}

/// A command that starts `ranks` processes of a program on this machine. Each has its share of the cores; what Open MPI refuses
/// unless told (more ranks than cores, the root user of a container) it is told.
pub fn launcher(ranks: usize) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut command = Command::new("mpirun");
    command.args(["-n", &ranks.to_string()]);
    let version = capture(Command::new("mpirun").arg("--version")).unwrap_or_default();
    if version.contains("Open MPI") || version.contains("OpenRTE") {
        // A rank bound to a core would have a single thread.
        command.args(["--bind-to", "none"]);
        if ranks > cores {
            command.arg("--oversubscribe");
        }
        // Both are read by processes of the root user alone.
        for allowed in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
            command.env(allowed, "1");
        }
    }
    if env::var_os(THREADS).is_none() {
        command.env(THREADS, (cores / ranks).max(1).to_string());
    }
    command
}

/// Threads of each rank.
const THREADS: &str = "RAYON_NUM_THREADS";
