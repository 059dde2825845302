//! What a launch does: start a run, or continue one with settings that can't change its past.

use std::path::{Path, PathBuf};

use crate::config::{Origin, Resolved, RunConfig};
use crate::error::TrainError;
use crate::frozen::Frozen;
use crate::run_dir;

/// Whether to continue a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Resume {
    /// Start a new one.
    #[default]
    Never,
    /// The run named by [`Launch::run_dir`], else the newest one; a new one where there is none.
    Auto,
    /// This one.
    Run(PathBuf),
}

impl From<&str> for Resume {
    fn from(text: &str) -> Self {
        if text == "auto" {
            Self::Auto
        } else {
            Self::Run(PathBuf::from(text))
        }
    }
}

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Configuration file.
    pub file: Option<PathBuf>,
    /// Overrides `(key, VALUE)`, applied in their order.
    pub overrides: Vec<(String, String)>,
    /// Whether to continue a run.
    pub resume: Resume,
    /// The run directory, instead of one that is named by time.
    pub run_dir: Option<PathBuf>,
}

/// Where a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A new run, in this directory if one was named.
    Fresh(Option<PathBuf>),
    /// The run in this directory.
    Continue(PathBuf),
}

/// Keys that may differ from the run that is resumed: none of them can change a weight or a logged loss.
const FREE: [&str; 15] = [
    "run.name",
    "run.dir",
    "train.stop_after",
    "train.reset_optimizer",
    "train.log_every",
    "train.eval_every",
    "train.eval_tokens",
    "train.checkpoint_every",
    "train.keep",
    "train.sample_every",
    "train.sample_tokens",
    "train.prompt",
    "metrics.norms_every",
    "metrics.peak_tflops",
    "data.cache",
];

impl Launch {
    /// Reads the configuration and finds the run to continue. Without a configuration file a resumed run keeps its own
    /// configuration, but for `train.stop_after` and `train.reset_optimizer`, which were instructions to the launch before.
    ///
    /// # Errors
    /// What [`RunConfig::load`] finds wrong; [`TrainError::Invalid`] without a budget; [`TrainError::NotARun`] for a folder without one;
    /// [`TrainError::Frozen`] for a model without its training; [`TrainError::ConfigDiffers`] with every key whose value differs and can change the past.
    pub fn resolve(&self) -> Result<(Resolved, Start), TrainError> {
        let (resolved, start) = self.find()?;
        let config = &resolved.config;
        // Asked before any text is read: a run needs a budget.
        config
            .train
            .total_steps(config.model.context)
            .map_err(|e| e.locate(&resolved.origins))?;
        Ok((resolved, start))
    }

    fn find(&self) -> Result<(Resolved, Start), TrainError> {
        let run = match &self.resume {
            Resume::Never => None,
            Resume::Run(path) => {
                run_dir::require_run(path)?;
                Some(path.clone())
            }
            Resume::Auto => match &self.run_dir {
                Some(path) => run_dir::is_run(path).then(|| path.clone()),
                None => run_dir::newest(&self.load(self.file.as_deref())?.config.run.dir)?,
            },
        };
        let Some(run) = run else {
            return Ok((
                self.load(self.file.as_deref())?,
                Start::Fresh(self.run_dir.clone()),
            ));
        };
        if let Some(frozen) = Frozen::read(&run)? {
            return Err(TrainError::Frozen { path: run, frozen });
        }
        let recorded = run_dir::config_of(&run);
        let mut given = self.load(Some(self.file.as_deref().unwrap_or(&recorded)))?;
        let asked = |key| self.file.is_some() || given.origins.of(key) == Origin::CommandLine;
        let (stop, reset) = (asked("train.stop_after"), asked("train.reset_optimizer"));
        if !stop {
            given.config.train.stop_after = None;
        }
        if !reset {
            given.config.train.reset_optimizer = false;
        }
        compare_recorded(&run, &given)?;
        Ok((given, Start::Continue(run)))
    }

    fn load(&self, file: Option<&Path>) -> Result<Resolved, TrainError> {
        RunConfig::load(file, &self.overrides)
    }
}

/// Keys that `train.reset_optimizer` frees.
pub(crate) const OPTIMIZER: &str = "optim.";

/// Keys that decide the numbers of a run, with their values; the rest is free.
pub(crate) fn binding(
    config: &RunConfig,
) -> Result<std::collections::BTreeMap<String, toml::Value>, TrainError> {
    let mut flat = config.flatten()?;
    flat.retain(|key, _| !FREE.contains(&key.as_str()));
    Ok(flat)
}

/// Compares a configuration with the one a run was started with.
pub(crate) fn compare_recorded(run: &Path, given: &Resolved) -> Result<(), TrainError> {
    let recorded = RunConfig::load(Some(&run_dir::config_of(run)), &[])?;
    compare(run, &recorded.config, given)
}

fn compare(run: &Path, recorded: &RunConfig, given: &Resolved) -> Result<(), TrainError> {
    let (old, new) = (binding(recorded)?, binding(&given.config)?);
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let show =
        |value: Option<&toml::Value>| value.map_or_else(|| "unset".to_owned(), ToString::to_string);
    let differing: Vec<&String> = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .collect();
    let only_optimizer = differing.iter().all(|name| name.starts_with(OPTIMIZER));
    if only_optimizer && given.config.train.reset_optimizer {
        return Ok(());
    }
    let differences: Vec<String> = differing
        .into_iter()
        .map(|name| {
            let (was, is) = (show(old.get(name)), show(new.get(name)));
            format!(
                "{name} was {was} and is now {is} ({})",
                given.origins.of(name)
            )
        })
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(TrainError::ConfigDiffers {
        path: run.to_owned(),
        differences,
        only_optimizer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_free_key_exists() {
        let keys = crate::config::keys();
        for free in FREE {
            assert!(keys.iter().any(|key| key.path == free), "{free}");
        }
    }
}
