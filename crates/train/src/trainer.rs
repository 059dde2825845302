//! A run from its configuration to its summary.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress as Done};
use burn::data::dataset::DatasetError;
use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use burn_train::renderer::MetricsRenderer;
use burn_train::{
    FileApplicationLoggerInstaller, Interrupter, Learner, SupervisedTraining, TrainingStrategy,
};
use evenburn_data::{Corpus, Score};
use evenburn_model::{Decoder, Registry, weights};
use evenburn_optim::Engine;

use crate::branch::Branch;
use crate::change::{self, Change};
use crate::checkpoint::{Checkpoints, FIRST_FORMAT, FORMAT, Loaded, State};
use crate::config::Resolved;
use crate::dashboard::{Dashboard, Figure, NoFiles};
use crate::error::TrainError;
use crate::feed::Feed;
use crate::fit::{Ended, Loop, Outcome, Strategy};
use crate::launch::{self, Start};
use crate::metrics::MetricsFile;
use crate::preflight::{self, Preflight};
use crate::progress::{Display, Progress};
use crate::recorded_plan::{RecordedPlan, same};
use crate::run_dir::{self, RunDir};
use crate::samples::Samples;
use crate::task::{Task, untrained};
use crate::tensorboard::EventFile;
use crate::{device, groups, memory};

/// A run that is ready to start or to continue.
///
/// A new run's plan is what its configuration's scheme makes of its sizes, whether that scheme is in the registry or not. A
/// run that goes on has the plan it recorded: its scheme needs not be known.
///
/// ```
/// use evenburn_data::prepare;
/// use evenburn_model::Registry;
/// use evenburn_train::config::RunConfig;
/// use evenburn_train::{Ended, Start, Trainer};
///
/// let dir = tempfile::tempdir()?;
/// let text = dir.path().join("text.txt");
/// let document = |n| format!("document {n}: a line that a tiny model reads\n<|endoftext|>\n");
/// std::fs::write(&text, (0..200).map(document).collect::<String>())?;
/// let toml = format!(
///     "[model]\nvocab_size = 300\ndim = 16\nlayers = 1\nheads = 2\ncontext = 16\n\
///      [data]\npath = '{}'\ntokenizer_vocab = 300\nvalidation_fraction = 0.1\n\
///      [train]\nsteps = 3\nbatch_size = 2\nsample_tokens = 4\n",
///     text.display()
/// );
/// let registry = Registry::default();
/// let resolved = RunConfig::from_toml(&registry, "example.toml", &toml, &[])?;
/// let corpus = prepare(&resolved.config.data, &dir.path().join("cache"), &())?;
/// let summary = Trainer::new(&registry, resolved, corpus)
///     .start(Start::Fresh(Some(dir.path().join("run"))))
///     .run()?;
/// assert_eq!((summary.ended, summary.step), (Ended::Finished, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer {
    registry: Registry,
    resolved: Resolved,
    corpus: Corpus,
    start: Start,
    display: Display,
    stop: Arc<AtomicBool>,
    log: bool,
}

/// What a run came to and where everything is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// Why it ended.
    pub ended: Ended,
    /// The run directory.
    pub run: PathBuf,
    /// Optimizer steps done, over all launches.
    pub step: u64,
    /// Optimizer steps of the budget.
    pub total: u64,
    /// Tokens trained on, over all launches.
    pub tokens: u64,
    /// Training loss of the last step of this launch.
    pub loss: Option<f64>,
    /// The last evaluation of this launch.
    pub evaluation: Option<Score>,
    /// The last checkpoint.
    pub checkpoint: Option<PathBuf>,
    /// The generated text and the file it is in.
    pub sample: Option<(PathBuf, String)>,
    /// Seconds of this launch, from its first step on.
    pub seconds: f64,
    /// Tokens trained on per second of this launch, evaluations and checkpoints included.
    pub tokens_per_sec: f64,
    /// Largest resident set of the process, in bytes.
    pub peak_rss: Option<u64>,
}

impl Trainer {
    /// A new run on a corpus. The registry reads what a run that goes on has recorded.
    pub fn new(registry: &Registry, resolved: Resolved, corpus: Corpus) -> Self {
        Self {
            registry: registry.clone(),
            resolved,
            corpus,
            start: Start::Fresh(None),
            display: Display::Silent,
            stop: Arc::default(),
            log: false,
        }
    }

    /// Where the run begins: see [`Launch::resolve`](crate::Launch::resolve).
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// How the run shows itself; it doesn't unless told.
    #[must_use]
    pub fn display(mut self, display: Display) -> Self {
        self.display = display;
        self
    }

    /// A flag that ends the run after the step it is in, with a checkpoint, once somebody sets it.
    #[must_use]
    pub fn stop_flag(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Sends the program's log messages to `run.log`. This installs a logger for the whole process, once.
    #[must_use]
    pub fn with_run_log(mut self) -> Self {
        self.log = true;
        self
    }

    /// Trains until the budget is spent, `train.stop_after` is reached or somebody asks to stop.
    ///
    /// # Errors
    /// [`TrainError`]. The run keeps its last checkpoint, and nothing that was there before is lost.
    pub fn run(self) -> Result<Summary, TrainError> {
        let config = &self.resolved.config;
        config
            .validate()
            .map_err(|e| e.locate(&self.resolved.origins))?;
        let total = config.train.total_steps(config.model.context)?;
        let tokenizer = &self.corpus.tokenizer;
        let recorded = RecordedPlan::at(&self.registry, &self.start, config)?;
        let plan = &recorded.plan;
        tokenizer.check_vocab(plan.dims().vocab)?;
        let mut preflight = preflight::check(&self.resolved, plan, tokenizer, &self.start)
            .map_err(|e| e.locate(&self.resolved.origins))?;
        let device = device::open(&config.train).map_err(|e| e.locate(&self.resolved.origins))?;
        let identities = Identities::new(&self.resolved, &recorded, &self.corpus)?;

        let decoder = untrained(plan, &config.train, &device.clone().autodiff());
        let engine = groups::engine(plan, &config.optim, total, &decoder)?;
        let feed = Feed::open(
            &self.corpus,
            config.model.context,
            config.train.batch_size,
            config.train.seed,
        )?;
        // From here on something is written: everything the user gave has been checked.
        let (run, news) = self.open(&recorded)?;
        let checkpoints = Checkpoints::open(run.checkpoints(), config.train.keep)?;
        preflight::writable(checkpoints.dir())?;
        if preflight.sample_tokens > 0 {
            preflight::writable(&run.samples())?;
        }
        let room = preflight::room(&self.resolved, plan, checkpoints.dir())?;
        preflight.notes.extend(room);
        let taken = change::taken(&self.start)?;
        let setup = Setup {
            trainer: &self,
            run: &run,
            total,
            recorded,
            identities,
            preflight,
        };
        let (task, mut work) = setup.prepare(decoder, engine, feed, checkpoints)?;
        run.record_data(&self.registry, &config.data)?;
        if let Some(news) = news {
            run.record(config, taken)?;
            work.notes.push(news);
        }
        self.launch(&run, task, work)
    }

    /// The run directory, and what is new in the configuration it goes on with.
    fn open(&self, recorded: &RecordedPlan) -> Result<(RunDir, Option<String>), TrainError> {
        let config = &self.resolved.config;
        let create = |at: Option<&Path>, branch: Option<&Branch>| {
            let tokenizer = self.corpus.tokenizer.json();
            RunDir::create(at, &self.resolved, &recorded.text, tokenizer, branch)
        };
        match &self.start {
            Start::Fresh(at) => Ok((create(at.as_deref(), None)?, None)),
            Start::Continue(path) => {
                let run = RunDir::open(path)?;
                let news = change::check(&self.registry, path, &self.resolved, &self.start)?;
                recorded.check_made_by(path, config)?;
                Ok((run, news))
            }
            Start::Branch {
                run,
                checkpoint,
                at,
            } => {
                let news = change::check(&self.registry, run, &self.resolved, &self.start)?;
                recorded.check_made_by(run, config)?;
                let branch = Branch::at(run, checkpoint)?;
                Ok((create(at.as_deref(), Some(&branch))?, news))
            }
        }
    }

    fn launch(&self, run: &RunDir, task: Task, work: Loop) -> Result<Summary, TrainError> {
        for note in &work.notes {
            self.display.say(note);
        }
        let samples = work.samples.clone();
        let context = work.config.model.context;
        let per_step = work.config.train.tokens_per_step(context);
        let strategy = Arc::new(Strategy::new(work));
        let interrupter = Interrupter::new();
        let renderer: Box<dyn MetricsRenderer> = match self.display {
            Display::Dashboard => Box::new(Dashboard::open(interrupter.clone())),
            Display::Lines | Display::Silent => Box::new(Dashboard::none()),
        };
        let custom: Arc<dyn burn_train::SupervisedLearningStrategy<Task>> =
            Arc::clone(&strategy) as _;
        let mut training =
            SupervisedTraining::new(run.path(), Arc::new(NoLoader), Arc::new(NoLoader))
                .with_training_strategy(TrainingStrategy::Custom(custom))
                .with_metric_logger(NoFiles)
                .with_interrupter(interrupter)
                .renderer(renderer)
                .label(&self.resolved.config.run.name)
                .with_application_logger(None);
        if self.log {
            // The installer panics where it can't write; a run without its log is still a run.
            match File::options().create(true).append(true).open(run.log()) {
                Ok(_) => {
                    let log = FileApplicationLoggerInstaller::new(run.log());
                    training = training.with_application_logger(Some(Box::new(log)));
                }
                Err(e) => self
                    .display
                    .say(&TrainError::io("write", run.log(), e).to_string()),
            }
        }
        for figure in Figure::of_training() {
            training = training.metric_train_numeric(figure);
        }
        for figure in Figure::of_evaluation() {
            training = training.metric_valid_numeric(figure);
        }
        // The learner's own optimizer is never stepped.
        let optimizer: ModuleOptimizer = SgdConfig::new().init();
        let learner = Learner::new(task, optimizer, 0.0);
        let result = training.launch(learner);
        // Closes the dashboard.
        drop(result.renderer);
        let outcome = strategy.outcome().unwrap_or_else(|| {
            let why = result
                .error
                .as_ref()
                .map_or_else(|| "it never began".to_owned(), ToString::to_string);
            Err(TrainError::Stopped(why))
        })?;
        let sample = if outcome.ended == Ended::Finished {
            let written = samples.write(&result.model.decoder, outcome.state.step);
            // The model is trained and saved; that it didn't write is no reason to call the run a failure.
            written.unwrap_or_else(|error| {
                self.display.say(&format!("no sample: {error}"));
                None
            })
        } else {
            None
        };
        Ok(summary(run, outcome, per_step, sample))
    }
}

fn summary(
    run: &RunDir,
    outcome: Outcome,
    per_step: u64,
    sample: Option<(PathBuf, String)>,
) -> Summary {
    Summary {
        ended: outcome.ended,
        run: run.path().to_owned(),
        step: outcome.state.step,
        total: outcome.total,
        tokens: outcome.state.tokens,
        loss: outcome.loss,
        evaluation: outcome.evaluation,
        checkpoint: outcome.checkpoint,
        sample,
        seconds: outcome.seconds,
        tokens_per_sec: (outcome.steps_done * per_step) as f64
            / outcome.seconds.max(f64::MIN_POSITIVE),
        peak_rss: memory::peak_rss(),
    }
}

/// What a checkpoint must agree with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identities {
    config: String,
    plan: String,
    corpus: String,
    /// As a checkpoint of the first format has it.
    first_corpus: String,
}

impl Identities {
    fn new(
        resolved: &Resolved,
        recorded: &RecordedPlan,
        corpus: &Corpus,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            config: launch::identity(&resolved.config)?,
            plan: recorded.hash(),
            corpus: corpus.manifest.fingerprint(),
            first_corpus: corpus.manifest.first_fingerprint(),
        })
    }

    /// The corpus stays the same whatever a run goes on with.
    fn check_corpus(&self, path: &Path, state: &State) -> Result<(), TrainError> {
        let corpus = match state.format {
            FIRST_FORMAT => &self.first_corpus,
            _ => &self.corpus,
        };
        if state.corpus == *corpus {
            return Ok(());
        }
        Err(TrainError::Foreign {
            path: path.to_owned(),
            what: "corpus",
            why: "its tokens are others: the text, its order (files go by their names), its splits or the tokenizer differ"
                .to_owned(),
        })
    }
}

/// What the loop is made from.
struct Setup<'t> {
    trainer: &'t Trainer,
    run: &'t RunDir,
    total: u64,
    recorded: RecordedPlan,
    identities: Identities,
    preflight: Preflight,
}

impl Setup<'_> {
    /// The loop at the run's last checkpoint, or at its beginning.
    fn prepare(
        self,
        decoder: Decoder,
        mut engine: Engine,
        mut feed: Feed,
        checkpoints: Checkpoints,
    ) -> Result<(Task, Loop), TrainError> {
        let config = &self.trainer.resolved.config;
        let (decoder, state) = match checkpoints.newest()? {
            None => (decoder, None),
            Some(path) => {
                let loaded = Loaded::read(&path)?;
                self.recorded.check(&path, &loaded.state.plan)?;
                self.identities.check_corpus(&path, &loaded.state)?;
                let keeps_state = self.keeps_state(&path, &loaded.state)?;
                let decoder = weights::replace(decoder, loaded.model)?;
                if keeps_state {
                    engine.load_state(&decoder, loaded.optim, &loaded.state.optim)?;
                }
                feed.seek(loaded.state.cursor)?;
                // Under other settings, it is theirs from here on.
                let state = State {
                    format: FORMAT,
                    config: self.identities.config.clone(),
                    corpus: self.identities.corpus.clone(),
                    ..loaded.state
                };
                (decoder, Some(state))
            }
        };
        let state = state.unwrap_or_else(|| State {
            format: FORMAT,
            step: 0,
            tokens: 0,
            seed: config.train.seed,
            cursor: feed.cursor(),
            optim: engine.counts(),
            metrics_bytes: 0,
            config: self.identities.config,
            plan: self.identities.plan,
            corpus: self.identities.corpus,
        });
        let (metrics, lost) =
            MetricsFile::open(self.run.metrics(), state.metrics_bytes, state.step)?;
        let mut notes = self.preflight.notes;
        notes.extend(lost);
        let work = Loop {
            notes,
            plan: self.recorded.plan,
            engine,
            schedule: config.optim.schedule(),
            total: self.total,
            cooldown: None,
            metrics,
            events: EventFile::create(&self.run.events(), state.step + 1)?,
            state,
            feed,
            checkpoints,
            samples: Samples {
                dir: self.run.samples(),
                tokenizer: self.trainer.corpus.tokenizer.clone(),
                prompt: config.train.prompt.clone(),
                tokens: self.preflight.sample_tokens,
                seed: config.train.seed,
            },
            progress: Progress::new(self.trainer.display, config.train.log_every),
            stop: Arc::clone(&self.trainer.stop),
            config: config.clone(),
        };
        Ok((Task::new(decoder, config.data.document_mask), work))
    }

    /// Whether the optimizer goes on with the state of a checkpoint: unless settings of its own have changed since the
    /// checkpoint was made, which was allowed when they did.
    fn keeps_state(&self, path: &Path, state: &State) -> Result<bool, TrainError> {
        if state.config == self.identities.config {
            return Ok(true);
        }
        let made_with = run_dir::config_at(&self.trainer.registry, self.run.path(), state.step)?;
        // A checkpoint of an earlier format has a hash of other keys; it was made with what is recorded.
        let earlier = state.format < FORMAT;
        if earlier || launch::identity(&made_with)? == state.config {
            let now = &self.trainer.resolved.config;
            match change::between(&made_with, now, state.step)? {
                Change::Nothing | Change::Later(_) => return Ok(true),
                Change::Rate(..) | Change::Optimizer(_) => return Ok(false),
                Change::Other(_) => {}
            }
        }
        same(
            path,
            "configuration",
            &state.config,
            &self.identities.config,
        )
        .map(|()| true)
    }
}

/// burn-train asks for data loaders; the loop reads its own stream, whose position a checkpoint can hold.
struct NoLoader;

impl<O: 'static> DataLoader<O> for NoLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<O> + 'a> {
        Box::new(NoItems(std::iter::empty()))
    }

    fn num_items(&self) -> usize {
        0
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<O>> {
        Arc::new(NoLoader)
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<O>> {
        Arc::new(NoLoader)
    }
}

struct NoItems<O>(std::iter::Empty<Result<O, DatasetError>>);

impl<O> Iterator for NoItems<O> {
    type Item = Result<O, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl<O> DataLoaderIterator<O> for NoItems<O> {
    fn progress(&self) -> Done {
        Done::new(0, Some(0), None)
    }
}
