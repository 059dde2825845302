//! Comparison with cases computed elsewhere: logits, loss, every gradient, ten training steps, final weights; and
//! evaluation on benchmarks ([`eval`]).
//!
//! A case is `NAME.json` (what was computed) beside `NAME.safetensors` (the numbers); `tests/fixtures/README.md`
//! describes both.

pub mod bare;
mod case;
mod error;
pub mod eval;
pub mod exports;
mod names;
mod optimizer;
mod report;
mod run;
mod scheme;

pub use case::Case;
pub use error::Worst;
pub use report::{Outcome, Precision, Report};

use anyhow::{Context, Result};
use evenburn_model::{ModelConfig, Scheme};
use std::path::{Path, PathBuf};

/// Descriptions of the cases of a folder, in the order of their names.
fn descriptions(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("{}: not a readable folder", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .filter(|path| path.with_extension("safetensors").is_file())
        .collect();
    cases.sort();
    anyhow::ensure!(
        !cases.is_empty(),
        "{}: no case here (NAME.json beside NAME.safetensors)",
        folder.display()
    );
    Ok(cases)
}

/// Runs every case of a folder, in the order of their names.
///
/// # Errors
/// When the folder can't be read, holds no case, or a case is damaged.
pub fn run_folder(folder: &Path) -> Result<Report> {
    let outcomes = descriptions(folder)?
        .iter()
        .map(|path| run_case(path).with_context(|| path.display().to_string()))
        .collect::<Result<_>>()?;
    Ok(Report { outcomes })
}

/// The cases of a folder whose scheme is known, each with its sizes and its scheme.
///
/// # Errors
/// When the folder can't be read, holds no case, or a case is damaged.
pub fn models(folder: &Path) -> Result<Vec<(String, ModelConfig, Scheme)>> {
    let mut models = Vec::new();
    for path in descriptions(folder)? {
        let case = Case::read(&path)?;
        if let Ok(model) = scheme::resolve(&case) {
            models.push((case.name, model.config, model.scheme));
        }
    }
    Ok(models)
}

/// Runs the case whose description is at `path`.
///
/// # Errors
/// When its files are damaged or contradict each other.
pub fn run_case(path: &Path) -> Result<Outcome> {
    let case = Case::read(path)?;
    let model = match scheme::resolve(&case) {
        Ok(model) => model,
        Err(why) => return Ok(Outcome::unknown(case.name, why)),
    };
    run::compare(&case, &model)
}
