//! Reading a run back: for evaluation, for samples, for whoever wants the weights.

use std::path::{Path, PathBuf};

use evenburn_model::strategy::NormStrategy;
use evenburn_model::{Decoder, Plan, weights};

use crate::checkpoint::{Loaded, State};
use crate::config::{RunConfig, TrainConfig};
use crate::device::{self, Choice};
use crate::error::TrainError;
use crate::frozen::{self, Frozen};
use crate::place::locate;
use crate::run_dir;
use crate::task::{Task, untrained};
use crate::trainer::{plan_text, same};

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
    /// What the run recorded and had to give way to something else on this machine, a line each: see [`device::choose`].
    pub notes: Vec<String>,
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
/// It computes on the device of its configuration where this build has it, else on the CPU, with a note in
/// [`TrainedRun::notes`].
///
/// # Errors
/// [`TrainError::NotARun`] for another folder, [`TrainError::Damaged`] for a file that isn't what was written, and
/// [`TrainError::Foreign`] for a run of a strategy that is not in the registry: [`load_run_with`] takes it.
pub fn load_run(path: &Path) -> Result<TrainedRun, TrainError> {
    load_run_as(path, &[])
}

/// [`load_run`] with configuration keys for this occasion, `(key, VALUE)` as on a command line. `train.device` and
/// `train.precision` say where and how to compute; the configuration keeps those of the run.
///
/// # Errors
/// As [`load_run`]; what [`RunConfig::load`] finds wrong with a key; [`TrainError::Device`] for a device that was given
/// and isn't in this build.
pub fn load_run_as(path: &Path, overrides: &[(String, String)]) -> Result<TrainedRun, TrainError> {
    let found = Found::at(path, overrides)?;
    match Frozen::read(&found.run)? {
        None => {
            let strategy = found.config.norm.clone();
            made_by(found, strategy.strategy())
        }
        Some(frozen) => {
            let loaded = Loaded::read(&found.checkpoint)?;
            let plan = frozen::plan(&found.run, &loaded.state)?;
            build(found, plan, loaded, Some(frozen))
        }
    }
}

/// [`load_run`] for a run of a strategy of one's own.
///
/// # Errors
/// As [`load_run`]; [`TrainError::Foreign`] if the strategy doesn't make the plan the run recorded.
pub fn load_run_with(path: &Path, strategy: &dyn NormStrategy) -> Result<TrainedRun, TrainError> {
    made_by(Found::at(path, &[])?, strategy)
}

fn made_by(found: Found, strategy: &dyn NormStrategy) -> Result<TrainedRun, TrainError> {
    let plan = Plan::new(&found.config.model, strategy)?;
    let recorded = run_dir::plan_of(&found.run)?;
    same(&found.run, "plan", &recorded, &plan_text(&plan)?)?;
    let loaded = Loaded::read(&found.checkpoint)?;
    build(found, plan, loaded, None)
}

fn build(
    found: Found,
    plan: Plan,
    loaded: Loaded,
    frozen: Option<Frozen>,
) -> Result<TrainedRun, TrainError> {
    let train = TrainConfig {
        precision: found.device.precision,
        ..found.config.train.clone()
    };
    let decoder = untrained(&plan, &train, &found.device.device);
    Ok(TrainedRun {
        decoder: weights::replace(decoder, loaded.model.into_iter().collect())?,
        config: found.config,
        plan,
        state: loaded.state,
        checkpoint: found.checkpoint,
        tokenizer: found.run.join(run_dir::TOKENIZER),
        frozen,
        notes: found.device.notes,
    })
}

/// A run, what it recorded, and where its model is to be computed.
struct Found {
    run: PathBuf,
    checkpoint: PathBuf,
    config: RunConfig,
    device: Choice,
}

impl Found {
    /// The run and the checkpoint a path names.
    fn at(path: &Path, overrides: &[(String, String)]) -> Result<Self, TrainError> {
        let place = locate(path)?;
        let (checkpoint, run) = (place.checkpoint()?, place.run);
        let recorded = RunConfig::load(Some(&run), &[])?.config.train;
        let given = RunConfig::load(Some(&run), overrides)?;
        let device = device::choose(&given.config.train, &given.origins)?;
        let mut config = given.config;
        (config.train.device, config.train.precision) = (recorded.device, recorded.precision);
        Ok(Self {
            run,
            checkpoint,
            config,
            device,
        })
    }
}

/// What a run says of its model, without the weights.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recorded {
    /// The configuration, with the keys that were given beside it.
    pub config: RunConfig,
    /// Every decision of the model.
    pub plan: Plan,
}

/// Reads the configuration and the plan of a run, of a folded or of an imported model, or of the run that a checkpoint is
/// in. With keys of `model` or `norm` among the overrides `(key, VALUE)` the plan is what they make of the run's.
///
/// # Errors
/// [`TrainError::NotARun`] for another folder, what [`RunConfig::load`] finds wrong with a key, [`TrainError::Plan`] for
/// sizes that make no model, [`TrainError::Invalid`] for a key of `model` or `norm` beside a folded or imported model,
/// whose plan nothing makes again.
pub fn recorded(path: &Path, overrides: &[(String, String)]) -> Result<Recorded, TrainError> {
    let run = locate(path)?.run;
    let given = RunConfig::load(Some(&run), overrides)?;
    let shapes = |key: &str| key.starts_with("model.") || key.starts_with("norm.");
    let reshaped = overrides.iter().find(|(key, _)| shapes(key));
    let config = given.config;
    let plan = match (reshaped, Frozen::read(&run)?) {
        (None, _) => frozen::read_plan(&run)?,
        (Some(_), None) => Plan::new(&config.model, config.norm.strategy())?,
        (Some((key, _)), Some(frozen)) => {
            let why = format!(
                "{} holds a model that was {frozen}: its plan is as it is",
                run.display()
            );
            return Err(TrainError::invalid(key, why).locate(&given.origins));
        }
    };
    Ok(Recorded { config, plan })
}
