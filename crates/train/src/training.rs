//! A training whose loop is its caller's: steps that own everything that belongs to one.

use std::path::{Path, PathBuf};

use evenburn_data::{Score, TrainingData};
use evenburn_model::function::Moment;
use evenburn_model::{Plan, weights};
use evenburn_optim::{Engine, Schedule};

use crate::checkpoint::{Checkpoints, FORMAT, Loaded, State};
use crate::config::RunConfig;
use crate::error::TrainError;
use crate::evaluate::evaluate;
use crate::feed::Feed;
use crate::recorded_plan::RecordedPlan;
use crate::step::{StepInfo, Updated};
use crate::task::{Task, untrained};
use crate::validation::ValidationSplit;
use crate::{device, groups, launch};

/// Model, optimizer, schedule, data and counters of a training, which only make sense together, without a loop: a program
/// calls [`step`](Self::step) as often as it wants, and looks at whatever it wants in between.
///
/// A step is that of the [`Trainer`](crate::Trainer): every key of `optim`, `data.document_mask`, `train.precision`,
/// `train.accumulate` and `train.seed` holds, and so do dropout, the penalties and corrections of routers and the schedules of
/// normalizations. What the keys ask for beside steps is left to the caller: evaluations, checkpoints, samples, metrics.
///
/// ```
/// use evenburn_model::{Plan, strategy::PeriNorm};
/// use evenburn_train::config::RunConfig;
/// use evenburn_train::{Registry, Training, prepare};
///
/// let dir = tempfile::tempdir()?;
/// let text = dir.path().join("text.txt");
/// std::fs::write(&text, "a line that a tiny model reads\n".repeat(200))?;
/// let toml = format!(
///     "[model]\nvocab_size = 300\ndim = 16\nlayers = 1\nheads = 2\ncontext = 16\n\
///      [data]\npath = '{}'\ntokenizer_vocab = 300\n[train]\nsteps = 4\nbatch_size = 2\n",
///     text.display()
/// );
/// let config = RunConfig::from_toml(&Registry::default(), "example.toml", &toml, &[])?.config;
/// let data = prepare(&config, &dir.path().join("cache"), &())?;
/// let plan = Plan::new(&config.model, &PeriNorm::default())?;
///
/// let checkpoints = dir.path().join("checkpoints");
/// let mut training = Training::open(&plan, &config, &data, &checkpoints)?;
/// while !training.is_finished() {
///     let updated;
///     (training, updated) = training.step()?;
///     assert!(updated.loss.is_finite());
///     training.save()?;
/// }
/// assert!(training.evaluate()?.nats_per_token() < 6.0);
/// // Behind the budget there are no steps.
/// assert!(training.step().is_err());
///
/// // A loop of one's own has one device.
/// let mut two = config.clone();
/// two.train.device = evenburn_train::config::DeviceList::Several(vec!["flex".into(), "flex".into()]);
/// assert!(Training::open(&plan, &two, &data, &checkpoints).is_err());
///
/// // What another plan, another corpus or other keys made is refused.
/// let other = Plan::new(&config.model, &PeriNorm { eps: 1e-3, ..Default::default() })?;
/// let error = Training::open(&other, &config, &data, &checkpoints).unwrap_err();
/// assert!(error.to_string().contains("plan"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Training {
    config: RunConfig,
    schedule: Schedule,
    total: u64,
    task: Task,
    engine: Engine,
    feed: Feed,
    validation: ValidationSplit,
    checkpoints: Checkpoints,
    /// The checkpoint of the steps taken so far.
    saved: Option<PathBuf>,
    state: State,
    notes: Vec<String>,
}

impl Training {
    /// A training on the device of the configuration: at the newest checkpoint in a folder, else at its first step. On a CPU
    /// the next step is then, bit for bit, the one that would have been taken. `norm` says nothing here: the plan is given.
    /// What makes it slower here than it could be is logged as a warning, and in [`notes`](Self::notes).
    ///
    /// # Errors
    /// [`TrainError::Damaged`] for a checkpoint that isn't what was written, [`TrainError::Foreign`] for one of another seed,
    /// plan, corpus or configuration; [`TrainError::Io`] for a folder that can't be made; [`TrainError::Invalid`] for a key out of range, without a budget,
    /// for several devices, or for a plan of other sizes than `config.model`;
    /// [`TrainError::Device`] for a backend that isn't in this build; [`TrainError::Optim`] for groups that name no parameter;
    /// [`TrainError::Data`] for a tokenizer with more ids than the model and for a split without a whole sample.
    pub fn open(
        plan: &Plan,
        config: &RunConfig,
        data: &TrainingData,
        checkpoints: impl Into<PathBuf>,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        if config.model.dims()? != *plan.dims() {
            let why = "the plan was made for other sizes";
            return Err(TrainError::invalid("model", why));
        }
        let (context, train) = (config.model.context, &config.train);
        let devices = train.device.entries()?.len();
        if devices > 1 {
            let why = format!(
                "a loop of one's own trains on one device, not on {devices}; a Trainer shares out its steps"
            );
            return Err(TrainError::invalid("train.device", why));
        }
        let total = train.total_steps(context)?;
        data.tokenizer().check_vocab(plan.dims().vocab)?;
        let decoder = untrained(plan, train, &device::open(train)?.autodiff());
        let engine = groups::engine(plan, &config.optim, total, &decoder)?;
        let feed = Feed::open(data, context, train.batch_size, train.seed)?;
        let state = State {
            format: FORMAT,
            step: 0,
            tokens: 0,
            seed: train.seed,
            cursor: feed.position(),
            optim: engine.counts(),
            metrics_bytes: 0,
            config: launch::identity(config)?,
            plan: RecordedPlan::new(plan.clone())?.hash(),
            corpus: data.identity(),
        };
        let notes = device::slow_paths(train);
        for note in &notes {
            log::warn!("{note}");
        }
        let new = Self {
            notes,
            schedule: config.optim.schedule(),
            total,
            task: Task::new(decoder, config.data.document_mask),
            engine,
            feed,
            validation: ValidationSplit::open(data, config)?,
            checkpoints: Checkpoints::open(checkpoints, train.keep)?,
            saved: None,
            state,
            config: config.clone(),
        };
        new.resumed()
    }

    /// The same at its newest checkpoint, where there is one.
    fn resumed(mut self) -> Result<Self, TrainError> {
        let Some(path) = self.checkpoints.newest()? else {
            return Ok(self);
        };
        let loaded = Loaded::read(&path)?;
        self.check(&path, &loaded.state)?;
        let mask = self.task.mask();
        let decoder = weights::replace(self.task.decoder, loaded.model)?;
        self.engine
            .load_state(&decoder, loaded.optim, &loaded.state.optim)?;
        self.feed.seek(&loaded.state.cursor)?;
        self.task = Task::new(decoder, mask);
        self.state = loaded.state;
        self.saved = Some(path);
        Ok(self)
    }

    /// Whether a checkpoint is of this training.
    fn check(&self, path: &Path, found: &State) -> Result<(), TrainError> {
        let own = &self.state;
        let (seed, own_seed) = (found.seed.to_string(), own.seed.to_string());
        for (what, found, own) in [
            ("seed", &seed, &own_seed),
            ("plan", &found.plan, &own.plan),
            ("corpus", &found.corpus, &own.corpus),
            ("configuration", &found.config, &own.config),
        ] {
            if found != own {
                return Err(TrainError::Foreign {
                    path: path.to_owned(),
                    what,
                    why: "it was made by a training with another one".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// One optimizer step on the next `train.accumulate` micro-batches.
    ///
    /// # Errors
    /// As [`Task::step`], [`TrainError::Data`] for a shard that can't be read, and [`TrainError::Invalid`] where the budget is
    /// [spent](Self::is_finished). The training is gone then; its checkpoints are not.
    pub fn step(mut self) -> Result<(Self, Updated), TrainError> {
        let (train, optim) = (&self.config.train, &self.config.optim);
        if self.is_finished() {
            let key = match train.tokens {
                Some(_) => "train.tokens",
                None => "train.steps",
            };
            let why = format!("all {} steps of the budget are taken", self.total);
            return Err(TrainError::invalid(key, why));
        }
        let batches = (0..train.accumulate)
            .map(|_| self.feed.next())
            .collect::<Result<Vec<_>, _>>()?;
        let (step, total) = (self.state.step, self.total);
        let info = StepInfo {
            seed: train.seed,
            before: Moment { step, total },
            factor: self.schedule.factor(step, total),
            qk_clip: optim.qk_clip,
        };
        let (task, updated) = self.task.step(&mut self.engine, batches, &info)?;
        self.task = task;
        self.saved = None;
        self.state.step = info.step();
        self.state.tokens += train.tokens_per_step(self.config.model.context);
        self.state.cursor = self.feed.position();
        Ok((self, updated))
    }

    /// Loss on the first `train.eval_tokens` tokens of the validation split.
    ///
    /// # Errors
    /// As [`evaluate`].
    pub fn evaluate(&self) -> Result<Score, TrainError> {
        evaluate(&self.task, self.validation.batches()?)
    }

    /// Saves a checkpoint of the steps taken, and returns its folder; `train.keep` of them are kept.
    ///
    /// # Errors
    /// As [`Checkpoints::save`].
    pub fn save(&mut self) -> Result<PathBuf, TrainError> {
        if let Some(saved) = &self.saved {
            return Ok(saved.clone());
        }
        self.state.optim = self.engine.counts();
        let saved = self.checkpoints.save(
            &self.state,
            || weights::collect(&self.task.decoder),
            || self.engine.state(),
        )?;
        self.saved = Some(saved.clone());
        Ok(saved)
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.state.step
    }

    /// Whether the budget, `train.steps` or `train.tokens`, is spent.
    pub fn is_finished(&self) -> bool {
        self.state.step >= self.total
    }

    /// What makes it slower on its device than it could be, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The model as it is now.
    pub fn task(&self) -> &Task {
        &self.task
    }
}
