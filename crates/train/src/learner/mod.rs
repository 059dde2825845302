//! What burn-train does for a run. No other folder knows it.
//!
//! burn-train's [`SupervisedTraining`] installs the log of the program, launches the [`Learner`], has the [`Interrupter`], and
//! brings figures to the program's renderer on a thread of its own. It calls a strategy of ours, [`Strategy`], which takes the model
//! out of the learner and runs the [`TrainingLoop`] on it.
//!
//! Its signatures (0.23) ask for more than such a run has. What is here for that reason alone:
//!
//! - **Data loaders.** `SupervisedTraining::new` takes two. Theirs have no position that a checkpoint could hold, so the loop
//!   reads a stream of its own. The items of these loaders are [`Nothing`], a type without values: the loaders can hold none,
//!   and the steps of the model that burn-train would call with them can't be called.
//! - **An optimizer.** `Learner::new` takes one that steps tensor by tensor, and the learner copies the model for each of its
//!   steps. The loop's engine clips over all parameters and updates them in place; the learner's is never stepped.
//! - **A model at the end.** `SupervisedLearningStrategy::fit` returns one whatever happened. A step that fails has consumed
//!   its weights, so the model of the learner is [`Learned`], which may have none.
//! - **A metric logger.** Without one, burn-train writes files of its own beside the run's.
//! - **A renderer.** Without one, burn-train draws its own. Where the program gives none, the run is shown by the progress lines
//!   of its sinks.

mod events;
mod figure;
mod required;
mod strategy;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::optim::{ModuleOptimizer, SgdConfig};
pub(crate) use burn_train::Interrupter;
pub(crate) use burn_train::renderer::MetricsRenderer;
use burn_train::{
    FileApplicationLoggerInstaller, Learner, SupervisedLearningStrategy, SupervisedTraining,
    TrainingStrategy,
};

use self::figure::Figure;
use self::required::{Learned, NoFiles, NoLoader, NoScreen};
use self::strategy::Strategy;
use crate::error::TrainError;
use crate::sinks::Display;
use crate::task::Task;
use crate::training_loop::{Outcome, TrainingLoop};

/// How a run is shown.
pub(crate) struct RunDisplay<'s> {
    /// The name of the run.
    pub(crate) name: &'s str,
    /// Its folder.
    pub(crate) run: &'s Path,
    /// The file for messages of the program.
    pub(crate) log: Option<PathBuf>,
    pub(crate) display: Display,
    /// What draws it in place of progress lines.
    pub(crate) renderer: Option<OpenRenderer>,
}

/// Opens a renderer of burn-train's; what it is given ends the run.
pub(crate) type OpenRenderer = Box<dyn FnOnce(Interrupter) -> Box<dyn MetricsRenderer> + Send>;

/// Runs a loop on a model, which comes back without its gradients.
pub(crate) fn train(
    task: Task,
    work: TrainingLoop,
    shown: RunDisplay<'_>,
) -> Result<(Task, Outcome), TrainError> {
    let strategy = Arc::new(Strategy::new(work));
    let interrupter = Interrupter::new();
    let renderer = match shown.renderer {
        Some(open) => open(interrupter.clone()),
        None => Box::new(NoScreen),
    };
    let custom: Arc<dyn SupervisedLearningStrategy<Learned>> = Arc::clone(&strategy) as _;
    let mut training = SupervisedTraining::new(shown.run, Arc::new(NoLoader), Arc::new(NoLoader))
        .with_training_strategy(TrainingStrategy::Custom(custom))
        .with_metric_logger(NoFiles)
        .with_interrupter(interrupter)
        .renderer(renderer)
        .label(shown.name)
        .with_application_logger(None);
    if let Some(log) = &shown.log {
        // The installer panics where it can't write; a run without its log is still a run.
        match File::options().create(true).append(true).open(log) {
            Ok(_) => {
                let log = FileApplicationLoggerInstaller::new(log);
                training = training.with_application_logger(Some(Box::new(log)));
            }
            Err(e) => {
                let display = shown.display;
                display.say(&TrainError::io("write", log, e).to_string());
            }
        }
    }
    for figure in Figure::of_training() {
        training = training.metric_train_numeric(figure);
    }
    for figure in Figure::of_evaluation() {
        training = training.metric_valid_numeric(figure);
    }
    let optimizer: ModuleOptimizer = SgdConfig::new().init();
    let result = training.launch(Learner::new(Learned::new(task), optimizer, 0.0));
    // Closes the dashboard.
    drop(result.renderer);
    let stopped = || {
        let why = result.error.as_ref().map(ToString::to_string);
        TrainError::Stopped(why.unwrap_or_else(|| "it never began".to_owned()))
    };
    let outcome = strategy.outcome().ok_or_else(stopped)??;
    let task = result.model.task().ok_or_else(stopped)?;
    Ok((task, outcome))
}
