//! Where the repository is, and how its programs are built and started: what `cargo xtask` and the tools beside it share.

mod backend;
pub mod mpi;
mod output;
mod program;
pub mod python;
mod tool;

pub use backend::Backend;
pub use output::{Unread, end, end_with, print};
pub use program::{
    build, build_for_ranks, build_tool, build_tree, is_there, program_arguments, together, units,
};
pub use tool::{corpus, tool};

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use anyhow::{Context, Result, bail};

/// The folder of the workspace's `Cargo.toml`.
///
/// # Errors
/// The package that runs lies in no workspace.
pub fn root() -> Result<PathBuf> {
    // Cargo sets the variable for `cargo run`; the compiled-in value serves a binary started by hand.
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    let package = Path::new(&package);
    package
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())
        .map(Path::to_path_buf)
        .with_context(|| format!("{} lies in no workspace", package.display()))
}

/// The cargo that runs this command, so that a chosen toolchain stays chosen.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// `path` relative to the current directory where it lies below it: what a person would type.
pub fn short(path: &Path) -> PathBuf {
    env::current_dir()
        .ok()
        .and_then(|here| path.strip_prefix(here).ok())
        .filter(|rest| !rest.as_os_str().is_empty())
        .map_or_else(|| path.to_path_buf(), Path::to_path_buf)
}

/// Runs `command` with its output captured.
///
/// # Errors
/// The program can't be started, or fails: then the message ends with what it wrote to stderr.
pub fn capture(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!(
            "{} failed ({status})\n{}",
            shown(command),
            String::from_utf8_lossy(&stderr).trim_end()
        );
    }
    String::from_utf8(stdout).with_context(|| format!("{} wrote no UTF-8", shown(command)))
}

/// Runs `command` on this terminal and fails when it does.
///
/// # Errors
/// The program can't be started, or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// The command line as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The triple of this machine, as `rustc` names it.
///
/// # Errors
/// `rustc` can't be started, or names no host.
pub fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    capture(Command::new(rustc).arg("-vV"))?
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

/// Runs `command` on this terminal and returns its exit code.
///
/// # Errors
/// The program can't be started.
pub fn exit_code(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
