//! `evenburn eval`: the loss on text, or benchmarks.

mod candidate;
mod compare;
mod json;
mod kept;
mod list;
mod loss;
mod progress;
mod questions;
mod samples;
mod table;
mod tasks;

use crate::args::{Eval, Kernels};
use crate::overrides::Overrides;
use anyhow::Result;
use evenburn_train::Registry;

pub(super) fn run(
    registry: &Registry,
    kernels: Kernels,
    arguments: Eval,
    overrides: Overrides,
) -> Result<()> {
    match arguments.benchmarks.tasks.as_deref() {
        None => loss::run(registry, arguments, overrides),
        Some(names) if names.trim() == "list" => list::run(),
        Some(_) => tasks::run(registry, kernels, &arguments, &overrides),
    }
}
