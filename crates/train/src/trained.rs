//! Reading a run back: for evaluation, for samples, for whoever wants the weights.

use std::path::{Path, PathBuf};

use evenburn_model::strategy::NormStrategy;
use evenburn_model::{Decoder, Plan, weights};

use crate::checkpoint::{Loaded, State};
use crate::config::RunConfig;
use crate::error::TrainError;
use crate::frozen::{self, Frozen};
use crate::place::locate;
use crate::task::{Task, untrained};
use crate::trainer::{plan_text, same};
use crate::{device, run_dir};

/// A trained model with what it was made from.
#[derive(Debug)]
#[non_exhaustive]
pub struct TrainedRun {
    /// The configuration of the run.
    pub config: RunConfig,
    /// The plan of the model.
    pub plan: Plan,
    /// The model, without gradients.
    pub decoder: Decoder,
    /// Counters of the checkpoint.
    pub state: State,
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// The tokenizer the run was trained with; an imported model may have none.
    pub tokenizer: PathBuf,
    /// Where the model came from, if it is one without its training.
    pub frozen: Option<Frozen>,
}

impl TrainedRun {
    /// The model as a task, to evaluate it.
    pub fn task(&self) -> Task {
        Task::new(self.decoder.clone(), self.config.data.document_mask)
    }
}

/// Loads the newest checkpoint of a run, or the one that `path` names: `RUN/checkpoints/step-...`, `RUN/checkpoints/latest`,
/// or a link to either. A folded or an imported model is one too.
///
/// # Errors
/// [`TrainError::NotARun`] for another folder, [`TrainError::Damaged`] for a file that isn't what was written, and
/// [`TrainError::Foreign`] for a run of a strategy that is not in the registry: [`load_run_with`] takes it.
pub fn load_run(path: &Path) -> Result<TrainedRun, TrainError> {
    let place = locate(path)?;
    let (checkpoint, run) = (place.checkpoint()?, place.run);
    let config = RunConfig::load(Some(&run_dir::config_of(&run)), &[])?.config;
    let Some(frozen) = Frozen::read(&run)? else {
        let strategy = config.norm.clone();
        return load_run_with(path, strategy.strategy());
    };
    let loaded = Loaded::read(&checkpoint)?;
    let plan = frozen::plan(&run, &loaded.state)?;
    build(&run, checkpoint, config, plan, loaded, Some(frozen))
}

/// [`load_run`] for a run of a strategy of one's own.
///
/// # Errors
/// As [`load_run`]; [`TrainError::Foreign`] if the strategy doesn't make the plan the run recorded.
pub fn load_run_with(path: &Path, strategy: &dyn NormStrategy) -> Result<TrainedRun, TrainError> {
    let place = locate(path)?;
    let (checkpoint, run) = (place.checkpoint()?, place.run);
    let config = RunConfig::load(Some(&run_dir::config_of(&run)), &[])?.config;
    let plan = Plan::new(&config.model, strategy)?;
    same(&run, "plan", &run_dir::plan_of(&run)?, &plan_text(&plan)?)?;
    let loaded = Loaded::read(&checkpoint)?;
    build(&run, checkpoint, config, plan, loaded, None)
}

fn build(
    run: &Path,
    checkpoint: PathBuf,
    config: RunConfig,
    plan: Plan,
    loaded: Loaded,
    frozen: Option<Frozen>,
) -> Result<TrainedRun, TrainError> {
    let decoder = untrained(&plan, &config.train, &device::open(&config.train)?);
    Ok(TrainedRun {
        decoder: weights::replace(decoder, loaded.model.into_iter().collect())?,
        config,
        plan,
        state: loaded.state,
        checkpoint,
        tokenizer: run.join(run_dir::TOKENIZER),
        frozen,
    })
}
