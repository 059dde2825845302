//! Pre-training of language models whose normalization is a choice.
//!
//! This crate is the command line ([`run`]) and one name for the project's libraries:
//!
//! - [`geometry`]: axes by role, norms, projections onto constraint sets.
//! - [`kernels`]: fused differentiable operations.
//! - [`model`]: the decoder, its plans, the strategies that make them, the modules that carry them out.
//! - [`optim`]: optimizer recipes and the engine that steps a module by path.
//! - [`data`]: a resumable stream of packed tokens.
//! - [`interchange`]: checkpoints of `transformers` in, and out to it.
//! - [`train`]: run configuration, the trainer, checkpoints, metrics.
//!
//! A program that only wants the normalization layers depends on `evenburn-model` alone.

// `println!` panics where nobody reads: everything is printed by `output`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod failure;
mod keys;
mod output;
mod overrides;
mod signals;
mod tokenizing;

pub use evenburn_allocator::training_allocator;
pub use evenburn_data as data;
pub use evenburn_geometry as geometry;
pub use evenburn_interchange as interchange;
pub use evenburn_kernels as kernels;
pub use evenburn_model as model;
pub use evenburn_optim as optim;
pub use evenburn_train as train;

use clap::{CommandFactory, Parser};
use evenburn_model::Registry;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line of this process, with the schemes of a registry in every command. A program that adds its own is
///
/// ```no_run
/// use evenburn::model::{Registry, RegistryError};
/// use std::process::ExitCode;
///
/// evenburn::training_allocator!();
///
/// fn main() -> Result<ExitCode, RegistryError> {
///     let registry = Registry::default(); // .with_scheme::<Mine>()?
///     Ok(evenburn::run(&registry))
/// }
/// ```
///
/// Exits with 0 on success, 1 on a failure and 2 on wrong input; with 141 where whoever read its output stopped reading.
pub fn run(registry: &Registry) -> ExitCode {
    run_line(registry, std::env::args_os())
}

/// [`run`] for another command line, of which the first word is the program's name.
pub fn run_line(registry: &Registry, line: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Where it declines, training is only slower.
    let _ = kernels::work_along();
    let options = overrides::options_with_values(&args::Arguments::command());
    let (rest, overrides) = match overrides::split(line, &options) {
        Ok(split) => split,
        Err(failure) => return failure.report(),
    };
    let arguments = args::Arguments::parse_from(rest);
    if arguments.kernels == args::Kernels::Reference {
        kernels::use_references();
    }
    match commands::run(registry, arguments.command, overrides) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::Failure::from(error).report(),
    }
}
