//! Reading a run back: for evaluation, for samples, for whoever wants the weights.

use std::path::{Path, PathBuf};

use evenburn_model::{Decoder, Plan, Registry, weights};

use crate::checkpoint::{Loaded, State};
use crate::config::{RunConfig, TrainConfig};
use crate::device::{self, Choice};
use crate::error::TrainError;
use crate::frozen::Frozen;
use crate::place::locate;
use crate::recorded_plan::RecordedPlan;
use crate::run_dir;
use crate::task::{Task, untrained};

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
/// The model is that of the recorded plan: its scheme may be one that the registry doesn't know.
///
/// It computes on the device of its configuration where this build has it, else on the CPU, with a note in
/// [`TrainedRun::notes`].
///
/// # Errors
/// [`TrainError::NotARun`] for another folder, [`TrainError::Damaged`] for a file that isn't what was written,
/// [`TrainError::Foreign`] for a plan that isn't the checkpoint's.
pub fn load_run(registry: &Registry, path: &Path) -> Result<TrainedRun, TrainError> {
    load_run_as(registry, path, &[])
}

/// [`load_run`] with configuration keys for this occasion, `(key, VALUE)` as on a command line. `train.device` and
/// `train.precision` say where and how to compute; the configuration keeps those of the run.
///
/// # Errors
/// As [`load_run`]; what [`RunConfig::load`] finds wrong with a key; [`TrainError::Device`] for a device that was given
/// and isn't in this build.
pub fn load_run_as(
    registry: &Registry,
    path: &Path,
    overrides: &[(String, String)],
) -> Result<TrainedRun, TrainError> {
    let found = Found::at(registry, path, overrides)?;
    let loaded = Loaded::read(&found.checkpoint)?;
    let recorded = RecordedPlan::read(registry, &found.run)?;
    recorded.check(&found.checkpoint, &loaded.state.plan)?;
    let plan = recorded.plan;
    let train = TrainConfig {
        precision: found.device.precision,
        ..found.config.train.clone()
    };
    let decoder = untrained(&plan, &train, &found.device.device);
    Ok(TrainedRun {
        decoder: weights::replace(decoder, loaded.model)?,
        config: found.config,
        plan,
        state: loaded.state,
        checkpoint: found.checkpoint,
        tokenizer: found.run.join(run_dir::TOKENIZER),
        frozen: Frozen::read(&found.run)?,
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
    fn at(
        registry: &Registry,
        path: &Path,
        overrides: &[(String, String)],
    ) -> Result<Self, TrainError> {
        let place = locate(path)?;
        let (checkpoint, run) = (place.checkpoint()?, place.run);
        let recorded = RunConfig::load(registry, Some(&run), &[])?.config.train;
        let given = RunConfig::load(registry, Some(&run), overrides)?;
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
pub fn recorded(
    registry: &Registry,
    path: &Path,
    overrides: &[(String, String)],
) -> Result<Recorded, TrainError> {
    let run = locate(path)?.run;
    let given = RunConfig::load(registry, Some(&run), overrides)?;
    let shapes = |key: &str| key.starts_with("model.") || key.starts_with("norm.");
    let reshaped = overrides.iter().find(|(key, _)| shapes(key));
    let config = given.config;
    let plan = match (reshaped, Frozen::read(&run)?) {
        (None, _) => RecordedPlan::read(registry, &run)?.plan,
        (Some(_), None) => config.norm.plan(&config.model)?,
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
