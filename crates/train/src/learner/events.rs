//! The dashboard as a sink: records on their way to it, through burn-train's metrics.

use burn::data::dataloader::Progress;
use burn_train::{
    EventProcessorTraining, Interrupter, LearnerEvent, SupervisedTrainingEventProcessor,
    TrainingItem,
};

use super::figure::{Figure, Values};
use super::required::Learned;
use crate::error::TrainError;
use crate::metrics::Record;
use crate::sinks::Sink;

/// What burn-train is told, and what it asks for.
pub(super) struct Events {
    processor: SupervisedTrainingEventProcessor<Learned>,
    interrupter: Interrupter,
}

/// burn-train counts epochs; a run that counts steps is one.
const EPOCH: usize = 1;

impl Events {
    pub(super) fn new(
        processor: SupervisedTrainingEventProcessor<Learned>,
        interrupter: Interrupter,
    ) -> Self {
        Self {
            processor,
            interrupter,
        }
    }

    pub(super) fn into_processor(self) -> SupervisedTrainingEventProcessor<Learned> {
        self.processor
    }

    fn of_training(&mut self, event: LearnerEvent<Values>) -> Result<(), TrainError> {
        let result = self.processor.process_train(event);
        self.checked(result)
    }

    fn of_validation(&mut self, event: LearnerEvent<Values>) -> Result<(), TrainError> {
        let result = self.processor.process_valid(event);
        self.checked(result)
    }

    /// Errors come late, from burn-train's own thread, and from whoever else has the interrupter.
    fn checked<E: Into<burn_train::TrainingError>>(
        &self,
        result: Result<(), E>,
    ) -> Result<(), TrainError> {
        self.interrupter.fail_on_error(result);
        match self.interrupter.error() {
            Some(error) => Err(TrainError::Stopped(error.to_string())),
            None => Ok(()),
        }
    }
}

impl Sink for Events {
    fn begin(&mut self, step: u64, end: u64) -> Result<(), TrainError> {
        self.of_training(LearnerEvent::StartSplit {
            epoch_number: EPOCH,
            progress: steps(step, end),
        })
    }

    fn record(&mut self, record: &Record, end: u64) -> Result<(), TrainError> {
        let progress = steps(record.step(), end);
        let item = |values| {
            let step = Some(record.step() as usize);
            LearnerEvent::ProcessedItem(TrainingItem::new(values, progress.clone(), step, None))
        };
        self.of_training(item(Values::new(record, &Figure::of_training())))?;
        let values = Values::new(record, &Figure::of_evaluation());
        if values.is_empty() {
            return Ok(());
        }
        self.of_validation(LearnerEvent::StartSplit {
            epoch_number: EPOCH,
            progress: progress.clone(),
        })?;
        self.of_validation(item(values))?;
        self.of_validation(LearnerEvent::EndSplit {
            epoch: EPOCH,
            progress: progress.clone(),
        })
    }

    fn end(&mut self, step: u64, end: u64) -> Result<(), TrainError> {
        self.of_training(LearnerEvent::EndSplit {
            epoch: EPOCH,
            progress: steps(step, end),
        })
    }

    fn asks_to_stop(&self) -> bool {
        self.interrupter.should_stop()
    }
}

fn steps(done: u64, total: u64) -> Progress {
    Progress::new(
        done as usize,
        Some(total as usize),
        Some("steps".to_owned()),
    )
}
