//! The command line of Evenburn, for the program `evenburn` and for programs with parts of one's own.
//!
//! [`run`] takes the schemes of a registry into every command; a [`Program`] takes more: commands of one's own, each with
//! the configuration keys that it reads. [`training_allocator!`] is the allocator that the program trains with. The
//! libraries are one package, `evenburn`.

// `println!` panics where nobody reads: everything is printed by `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod dashboard;
mod failure;
mod keys;
mod model_folder;
mod output;
mod overrides;
mod own_command;
mod program;
mod ranks;
mod signals;
mod tokenizing;

pub use anyhow;
pub use clap;
pub use evenburn_allocator::training_allocator;
pub use keys::Keys;
pub use own_command::{Call, OwnCommand};
pub use program::Program;

use evenburn::Registry;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line of this process, with the schemes of a registry in every command. A program that adds its own is
///
/// ```no_run
/// use evenburn::{Registry, RegistryError};
/// use std::process::ExitCode;
///
/// evenburn_cli::training_allocator!();
///
/// fn main() -> Result<ExitCode, RegistryError> {
///     let registry = Registry::default(); // .with_scheme::<Mine>()?
///     Ok(evenburn_cli::run(&registry))
/// }
/// ```
///
/// Exits with 0 on success, 1 on a failure and 2 on wrong input; with 141 where whoever read its output stopped reading.
pub fn run(registry: &Registry) -> ExitCode {
    Program::new(registry.clone()).run()
}

/// [`run`] for another command line, of which the first word is the program's name.
pub fn run_line(registry: &Registry, line: impl IntoIterator<Item = OsString>) -> ExitCode {
    Program::new(registry.clone()).run_line(line)
}
