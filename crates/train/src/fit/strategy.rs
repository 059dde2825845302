//! The loop as burn-train's training strategy.

use std::sync::{Mutex, PoisonError};

use burn_train::{
    Learner, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingComponents, ValidLoader,
};

use super::events::Events;
use super::{Loop, Outcome};
use crate::error::TrainError;
use crate::task::Task;

/// A loop that burn-train can run, once.
pub(crate) struct Strategy {
    work: Mutex<Option<Loop>>,
    outcome: Mutex<Option<Result<Outcome, TrainError>>>,
}

impl Strategy {
    pub(crate) fn new(work: Loop) -> Self {
        Self {
            work: Mutex::new(Some(work)),
            outcome: Mutex::new(None),
        }
    }

    /// What came of it; nothing if burn-train didn't run it.
    pub(crate) fn outcome(&self) -> Option<Result<Outcome, TrainError>> {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl SupervisedLearningStrategy<Task> for Strategy {
    fn fit(
        &self,
        components: TrainingComponents<Task>,
        learner: Learner<Task>,
        _: TrainLoader<Task>,
        _: ValidLoader<Task>,
        _: usize,
    ) -> (Task, SupervisedTrainingEventProcessor<Task>) {
        let task = learner.model();
        // The learner's copy would keep the first weights in memory for the whole run.
        drop(learner);
        let mut shown = Events {
            processor: components.event_processor,
            interrupter: components.interrupter,
        };
        let work = self
            .work
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut work) = work else {
            return (task, shown.processor);
        };
        let device = task.device();
        let (task, outcome) = match work.run(task, &mut shown) {
            Ok((task, outcome)) => (task, Ok(outcome)),
            // The failed step consumed the weights; burn-train wants some, and nobody reads them.
            Err(error) => (work.untrained(&device), Err(error)),
        };
        work.progress.finish();
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        (task, shown.processor)
    }
}
