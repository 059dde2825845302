//! The loop as burn-train's training strategy.

use std::sync::{Mutex, PoisonError};

use burn_train::{
    Learner, SupervisedLearningStrategy, SupervisedTrainingEventProcessor, TrainLoader,
    TrainingComponents, ValidLoader,
};

use super::events::Events;
use super::required::Learned;
use crate::error::TrainError;
use crate::training_loop::{Outcome, TrainingLoop};

/// A loop that burn-train can run, once.
pub(super) struct Strategy {
    work: Mutex<Option<TrainingLoop>>,
    outcome: Mutex<Option<Result<Outcome, TrainError>>>,
}

impl Strategy {
    pub(super) fn new(work: TrainingLoop) -> Self {
        Self {
            work: Mutex::new(Some(work)),
            outcome: Mutex::new(None),
        }
    }

    /// What came of it; nothing if burn-train didn't run it.
    pub(super) fn outcome(&self) -> Option<Result<Outcome, TrainError>> {
        taken(&self.outcome)
    }
}

fn taken<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl SupervisedLearningStrategy<Learned> for Strategy {
    fn fit(
        &self,
        components: TrainingComponents<Learned>,
        learner: Learner<Learned>,
        _: TrainLoader<Learned>,
        _: ValidLoader<Learned>,
        _: usize,
    ) -> (Learned, SupervisedTrainingEventProcessor<Learned>) {
        let model = learner.model();
        // The learner's copy would keep the first weights in memory for the whole run.
        drop(learner);
        let mut events = Events::new(components.event_processor, components.interrupter);
        let (Some(work), Some(task)) = (taken(&self.work), model.task()) else {
            return (Learned::new(None), events.into_processor());
        };
        let (task, outcome) = match work.run(task, &mut events) {
            Ok((task, outcome)) => (Some(task), Ok(outcome)),
            Err(error) => (None, Err(error)),
        };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        (Learned::new(task), events.into_processor())
    }
}
