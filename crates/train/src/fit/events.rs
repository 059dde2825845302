//! What burn-train is told, and through it the dashboard.

use burn::data::dataloader::Progress as Done;
use burn_train::{
    EventProcessorTraining, Interrupter, LearnerEvent, SupervisedTrainingEventProcessor,
    TrainingItem,
};

use super::step::Stepped;
use crate::task::{Shown, Task};

/// The way to the dashboard.
pub(super) struct Events {
    pub(super) processor: SupervisedTrainingEventProcessor<Task>,
    pub(super) interrupter: Interrupter,
}

impl Events {
    pub(super) fn start(&mut self, done: u64, total: u64) {
        let event = LearnerEvent::StartSplit {
            epoch_number: 1,
            progress: steps(done, total),
        };
        let result = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }

    pub(super) fn step(&mut self, stepped: &Stepped, speed: f64, step: u64, total: u64) {
        let shown = Shown {
            loss: stepped.loss,
            lr: Some(stepped.lr),
            grad_norm: Some(stepped.grad_norm),
            tokens_per_sec: Some(speed),
            bpb: None,
        };
        let progress = steps(step, total);
        let item = TrainingItem::new(shown, progress.clone(), Some(step as usize), None);
        let result = self
            .processor
            .process_train(LearnerEvent::ProcessedItem(item));
        self.interrupter.fail_on_error(result);
        let Some(evaluation) = stepped.evaluation else {
            return;
        };
        let shown = Shown {
            loss: evaluation.nats_per_token(),
            bpb: evaluation.bits_per_byte(),
            ..Shown::default()
        };
        for event in [
            LearnerEvent::StartSplit {
                epoch_number: 1,
                progress: progress.clone(),
            },
            LearnerEvent::ProcessedItem(TrainingItem::new(
                shown,
                progress.clone(),
                Some(step as usize),
                None,
            )),
            LearnerEvent::EndSplit { epoch: 1, progress },
        ] {
            let result = self.processor.process_valid(event);
            self.interrupter.fail_on_error(result);
        }
    }

    pub(super) fn end(&mut self, done: u64, total: u64) {
        let event = LearnerEvent::EndSplit {
            epoch: 1,
            progress: steps(done, total),
        };
        let result = self.processor.process_train(event);
        self.interrupter.fail_on_error(result);
    }
}

fn steps(done: u64, total: u64) -> Done {
    Done::new(
        done as usize,
        Some(total as usize),
        Some("steps".to_owned()),
    )
}
