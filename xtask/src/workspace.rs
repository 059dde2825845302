//! Where the repository is and how its programs are started.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use anyhow::{Context, Result, bail};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> Result<PathBuf> {
    // Cargo sets the variable for `cargo run`; the compiled-in value serves a binary started by hand.
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    let root = Path::new(&package)
        .parent()
        .context("the folder of xtask has no parent")?;
    if !root.join("Cargo.toml").is_file() {
        bail!("{} holds no Cargo.toml", root.display());
    }
    Ok(root.to_path_buf())
}

/// The cargo that runs this command, so that a chosen toolchain stays chosen.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// The arguments with which Cargo builds the program for a backend, which is a feature of its package.
pub(crate) fn program_arguments(backend: &str, debug: bool) -> Vec<String> {
    let mut arguments = vec![
        "--locked".to_owned(),
        "--package=evenburn-cli".to_owned(),
        "--bin=evenburn".to_owned(),
        "--no-default-features".to_owned(),
        format!("--features={backend}"),
    ];
    if !debug {
        arguments.push("--release".to_owned());
    }
    arguments
}

/// `path` relative to the current directory where it lies below it: what a person would type.
pub(crate) fn short(path: &Path) -> PathBuf {
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
pub(crate) fn capture(command: &mut Command) -> Result<String> {
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
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// The command line as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The triple of this machine, as `rustc` names it.
pub(crate) fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    capture(Command::new(rustc).arg("-vV"))?
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV names no host")
}

/// Runs `command` on this terminal and returns its exit code.
pub(crate) fn exit_code(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
