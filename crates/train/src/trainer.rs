//! A run from its configuration to its summary.

mod hooks;
mod restore;
mod summary;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use evenburn_data::{Prepare, TrainingData};

use self::hooks::{Hooks, Measured};
use self::restore::{Identities, Restore, TrainingState};
pub use self::summary::Summary;
use crate::branch::Branch;
use crate::change;
use crate::checkpoint::{Checkpoints, State};
use crate::config::Resolved;
use crate::data_parallel::{Beginning, Ranks, threads};
use crate::error::TrainError;
use crate::feed::Feed;
use crate::launch::Start;
use crate::learner::{self, Interrupter, MetricsRenderer, OpenRenderer, RunDisplay};
use crate::learning_rate::LearningRate;
use crate::metrics::Record;
use crate::monitor::{self, Monitor, Setup};
use crate::preflight::{self, Preflight};
use crate::recorded_plan::RecordedPlan;
use crate::registry::Registry;
use crate::run_dir::RunDir;
use crate::samples::Samples;
use crate::sinks::{Callback, Display, EventFile, JsonLines, ProgressLines, Sink};
use crate::task::{Task, untrained};
use crate::training_loop::{Ended, TrainingLoop};
use crate::validation::{Benchmarks, ValidationEntry};
use crate::{device, groups};

/// A run that is ready to start or to continue.
///
/// A new run's plan is what its configuration's scheme makes of its sizes, whether that scheme is in the registry or not. A
/// run that goes on has the plan it recorded: its scheme needs not be known.
///
/// ```
/// use evenburn_data::prepare;
/// use evenburn_train::Registry;
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
    data: TrainingData,
    start: Start,
    display: Display,
    renderer: Option<OpenRenderer>,
    stop: Arc<AtomicBool>,
    launched: Instant,
    log: bool,
    benchmarks: Benchmarks,
    ranks: Option<Ranks>,
    hooks: Hooks,
}

impl Trainer {
    /// A new run on a corpus, be it tokenized as a whole or ahead of the training. The registry reads what a run that goes on
    /// has recorded.
    pub fn new(registry: &Registry, mut resolved: Resolved, data: impl Into<TrainingData>) -> Self {
        let data = data.into();
        // What is recorded names the commits that were read, so that the run goes on with the same files.
        data.pins().apply(&mut resolved.config.data);
        if data.is_streamed() {
            // And in the same way, wherever they lie then.
            resolved.config.data.prepare = Some(Prepare::Ahead);
        }
        Self {
            registry: registry.clone(),
            resolved,
            data,
            start: Start::Fresh(None),
            display: Display::Silent,
            renderer: None,
            stop: Arc::default(),
            launched: Instant::now(),
            log: false,
            benchmarks: Benchmarks::default(),
            ranks: None,
            hooks: Hooks::default(),
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

    /// Has the run drawn by a renderer of burn-train's in place of progress lines, a dashboard say. It is opened where the run
    /// begins, with what ends the run; it closes where it is dropped.
    #[must_use]
    pub fn renderer(
        mut self,
        open: impl FnOnce(Interrupter) -> Box<dyn MetricsRenderer> + Send + 'static,
    ) -> Self {
        self.renderer = Some(Box::new(open));
        self
    }

    /// A flag that ends the run after the step it is in, with a checkpoint, once somebody sets it.
    #[must_use]
    pub fn stop_flag(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// When the program was launched: the time to the first step, which the run tells, is counted from there. The moment at which
    /// the trainer was made unless told.
    #[must_use]
    pub fn launched(mut self, at: Instant) -> Self {
        self.launched = at;
        self
    }

    /// Sends the program's log messages to `run.log`. This installs a logger for the whole process, once.
    #[must_use]
    pub fn with_run_log(mut self) -> Self {
        self.log = true;
        self
    }

    /// The benchmarks that the configuration asks for in `[eval]`, loaded.
    #[must_use]
    pub fn benchmarks(mut self, benchmarks: Benchmarks) -> Self {
        self.benchmarks = benchmarks;
        self
    }

    /// Has the run computed by several ranks, of which this process is rank 0. Without it there is one, or as many as `train.device`
    /// has devices, each a thread of this process.
    #[must_use]
    pub fn ranks(mut self, ranks: Ranks) -> Self {
        self.ranks = Some(ranks);
        self
    }

    /// Adds a monitor; its values come after those of the built-in ones.
    #[must_use]
    pub fn monitor(mut self, monitor: impl Monitor + 'static) -> Self {
        self.hooks.monitors.push(Box::new(monitor));
        self
    }

    /// Adds a measurement on the validation split, after the built-in ones.
    #[must_use]
    pub fn validation_entry(mut self, entry: impl ValidationEntry + 'static) -> Self {
        self.hooks.entries.push(Box::new(entry));
        self
    }

    /// Calls a function with the record of every step, once it is written. [`ControlFlow::Break`] ends the run after the
    /// step, with a checkpoint.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use evenburn_train::Trainer;
    ///
    /// /// A run that ends where its loss is small enough.
    /// fn until(trainer: Trainer, loss: f64) -> Trainer {
    ///     trainer.on_step(move |record| match record.get("train/loss") {
    ///         Some(now) if now < loss => ControlFlow::Break(()),
    ///         _ => ControlFlow::Continue(()),
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn on_step(
        mut self,
        call: impl FnMut(&Record) -> ControlFlow<()> + Send + 'static,
    ) -> Self {
        self.hooks.on_step.push(Box::new(call));
        self
    }

    /// Trains until the budget is spent, `train.stop_after` is reached or somebody asks to stop.
    ///
    /// # Errors
    /// [`TrainError`]. The run keeps its last checkpoint, and nothing that was there before is lost.
    pub fn run(self) -> Result<Summary, TrainError> {
        self.run_with(monitor::built_in)
    }

    /// The same with other built-in monitors.
    fn run_with(
        mut self,
        built_in: impl FnOnce(&Setup<'_>) -> Vec<Box<dyn Monitor>>,
    ) -> Result<Summary, TrainError> {
        let mut hooks = std::mem::take(&mut self.hooks);
        let benchmarks = std::mem::take(&mut self.benchmarks);
        if benchmarks.is_empty() && !self.resolved.config.eval.is_empty() {
            let why = "asks for benchmarks, and this program gives none to `Trainer::benchmarks`";
            return Err(TrainError::invalid("eval", why));
        }
        hooks.entries.splice(0..0, benchmarks.entries());
        let renderer = self.renderer.take();
        let config = &self.resolved.config;
        let located = |e: TrainError| e.locate(&self.resolved.origins);
        config.validate().map_err(located)?;
        let total = config.train.total_steps(config.model.context)?;
        let mut ranks = match self.ranks.take() {
            Some(ranks) => ranks,
            None => threads::start(&self.registry, &config.train.device)?,
        };
        ranks.check(config.train.accumulate).map_err(located)?;
        let tokenizer = self.data.tokenizer();
        let recorded = RecordedPlan::at(&self.registry, &self.start, config)?;
        let plan = &recorded.plan;
        tokenizer.check_vocab(plan.dims().vocab)?;
        let mut preflight =
            preflight::check(&self.resolved, plan, tokenizer, &self.start).map_err(located)?;
        let device = device::open(&config.train).map_err(located)?;
        let identities = Identities::new(&self.resolved, &recorded, &self.data)?;

        let decoder = untrained(plan, &config.train, &device.clone().autodiff());
        let engine = groups::engine(plan, &config.optim, total, &decoder)?;
        let (context, seed) = (config.model.context, config.train.seed);
        let feed = Feed::open(&self.data, context, config.train.batch_size, seed)?;
        let setup = Setup {
            config,
            plan,
            ranks: ranks.world(),
        };
        let measured = hooks.measured(built_in(&setup), &setup, &self.data)?;
        // From here on something is written: everything the user gave has been checked.
        let (run, news) = self.open(&recorded, ranks.world())?;
        let checkpoints = Checkpoints::open(run.checkpoints(), config.train.keep)?;
        preflight::writable(checkpoints.dir())?;
        if preflight.sample_tokens > 0 {
            preflight::writable(&run.samples())?;
        }
        let room = preflight::room(&self.resolved, plan, checkpoints.dir())?;
        preflight.notes.extend(room);
        let taken = change::taken(&self.start)?;
        let restore = Restore {
            registry: &self.registry,
            resolved: &self.resolved,
            run: &run,
            recorded: &recorded,
            identities,
        };
        let training = TrainingState {
            decoder,
            engine,
            feed,
        };
        let (mut training, saved, state) = restore.at_newest(training, &checkpoints)?;
        let beginning = || {
            Ok(Beginning {
                config: config.to_toml()?,
                plan: recorded.text.clone(),
                total,
            })
        };
        let patience = Duration::from_secs(config.ranks.patience);
        let TrainingState {
            decoder, engine, ..
        } = &mut training;
        ranks.begin(beginning, decoder, engine, saved, patience)?;
        log::info!("step {}: {} ranks", state.step, ranks.world());
        // The last that can fail before a step: what the run has recorded stays as it is until then.
        let lines = JsonLines::open(run.metrics(), state.metrics_bytes, state.step)?;
        let events = EventFile::create(&run.events(), state.step + 1)?;
        run.record_data(&self.registry, &config.data)?;
        if let Some(news) = news {
            run.record(config, taken)?;
            preflight.notes.push(news);
        }
        let parts = Parts {
            training,
            ranks,
            state,
            checkpoints,
            measured,
            lines,
            events,
            shown_as: match renderer {
                Some(_) => Display::Silent,
                None => self.display,
            },
        };
        let (task, work) = self.assemble(&run, &recorded, total, preflight, parts);
        self.launch(&run, task, work, renderer)
    }

    /// The loop and the model it begins with.
    fn assemble(
        &self,
        run: &RunDir,
        recorded: &RecordedPlan,
        total: u64,
        preflight: Preflight,
        parts: Parts,
    ) -> (Task, TrainingLoop) {
        let config = &self.resolved.config;
        let state = parts.state;
        let (lines, lost) = parts.lines;
        let progress = ProgressLines::new(parts.shown_as, config.train.log_every);
        let mut sinks: Vec<Box<dyn Sink + Send>> =
            vec![Box::new(lines), Box::new(parts.events), Box::new(progress)];
        for call in parts.measured.on_step {
            sinks.push(Box::new(Callback::new(call)));
        }
        let mut notes = preflight.notes;
        notes.extend(lost);
        notes.extend(device::slow_paths(&config.train));
        let TrainingState {
            decoder,
            engine,
            feed,
        } = parts.training;
        let work = TrainingLoop {
            qk_clip: config.optim.qk_clip,
            step_tokens: config.train.tokens_per_step(config.model.context),
            parameters: recorded.plan.cost().params,
            notes,
            feed,
            ranks: parts.ranks,
            engine,
            rate: LearningRate::new(config.optim.lr, config.optim.schedule(), total),
            monitors: parts.measured.monitors,
            validation: parts.measured.validation,
            sinks,
            state,
            checkpoints: parts.checkpoints,
            samples: Samples {
                dir: run.samples(),
                tokenizer: self.data.tokenizer().clone(),
                prompt: config.train.prompt.clone(),
                tokens: preflight.sample_tokens,
                seed: config.train.seed,
            },
            stop: Arc::clone(&self.stop),
            launched: self.launched,
            config: config.train.clone(),
        };
        (Task::new(decoder, config.data.document_mask), work)
    }

    /// The run directory, and what is new in the configuration it goes on with.
    fn open(
        &self,
        recorded: &RecordedPlan,
        ranks: usize,
    ) -> Result<(RunDir, Option<String>), TrainError> {
        let config = &self.resolved.config;
        let create = |at: Option<&Path>, branch: Option<&Branch>| {
            let tokenizer = self.data.tokenizer().json();
            RunDir::create(at, &self.resolved, &recorded.text, tokenizer, ranks, branch)
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

    fn launch(
        &self,
        run: &RunDir,
        task: Task,
        work: TrainingLoop,
        renderer: Option<OpenRenderer>,
    ) -> Result<Summary, TrainError> {
        for note in &work.notes {
            self.display.say(note);
        }
        let samples = work.samples.clone();
        let step_tokens = work.step_tokens;
        let shown = RunDisplay {
            name: &self.resolved.config.run.name,
            run: run.path(),
            log: self.log.then(|| run.log()),
            display: self.display,
            renderer,
        };
        let (task, outcome) = learner::train(task, work, shown)?;
        let sample = if outcome.ended == Ended::Finished {
            let written = samples.write(&task.decoder, outcome.state.step);
            // The model is trained and saved; that it didn't write is no reason to call the run a failure.
            written.unwrap_or_else(|error| {
                self.display.say(&format!("no sample: {error}"));
                None
            })
        } else {
            None
        };
        Ok(Summary::new(run, outcome, step_tokens, sample))
    }
}

/// What a loop is put together from.
struct Parts {
    training: TrainingState,
    ranks: Ranks,
    state: State,
    checkpoints: Checkpoints,
    measured: Measured,
    /// The open history, and what is wrong with it.
    lines: (JsonLines, Option<String>),
    events: EventFile,
    shown_as: Display,
}
