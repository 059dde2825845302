//! What burn-train's signatures ask for and a run with a loop of its own doesn't have; the folder's comment says why.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::tensor::Device;
use burn_train::logger::{EvaluationProgressLogger, MetricLogger, TrainingProgressLogger};
use burn_train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn_train::metric::{MetricDefinition, NumericEntry};
use burn_train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use burn_train::{InferenceStep, LearnerSummary, TrainOutput, TrainStep};

use super::figure::Values;
use crate::task::Task;

/// What the loaders hold: there is none.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nothing {}

/// The model of the learner; none after a step that failed, which has consumed it.
#[derive(Module, Debug)]
pub(super) struct Learned {
    task: Option<Task>,
}

impl Learned {
    pub(super) fn new(task: impl Into<Option<Task>>) -> Self {
        Self { task: task.into() }
    }

    pub(super) fn task(self) -> Option<Task> {
        self.task
    }
}

impl TrainStep for Learned {
    type Input = Nothing;
    type Output = Values;

    fn step(&self, nothing: Nothing) -> TrainOutput<Values> {
        match nothing {}
    }
}

impl InferenceStep for Learned {
    type Input = Nothing;
    type Output = Values;

    fn step(&self, nothing: Nothing) -> Values {
        match nothing {}
    }
}

/// A loader of [`Nothing`].
pub(super) struct NoLoader;

impl DataLoader<Nothing> for NoLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Nothing> + 'a> {
        Box::new(NoItems)
    }

    fn num_items(&self) -> usize {
        0
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Nothing>> {
        Arc::new(Self)
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<Nothing>> {
        Arc::new(Self)
    }
}

struct NoItems;

impl Iterator for NoItems {
    type Item = Result<Nothing, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

impl DataLoaderIterator<Nothing> for NoItems {
    fn progress(&self) -> Progress {
        Progress::new(0, Some(0), None)
    }
}

/// Keeps burn-train from writing files: the sinks of the loop write the run's.
pub(super) struct NoFiles;

impl MetricLogger for NoFiles {
    fn log(&mut self, _: MetricsUpdate, _: usize, _: &Split) {}

    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}

/// Draws nothing: the progress lines are sinks of the loop.
pub(super) struct NoScreen;

impl MetricsRenderer for NoScreen {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, _: MetricDefinition) {}
}

impl MetricsRendererTraining for NoScreen {
    fn update_train(&mut self, _: MetricState) {}

    fn update_valid(&mut self, _: MetricState) {}

    fn on_train_end(
        &mut self,
        _: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl TrainingProgressLogger for NoScreen {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}

    fn update_epoch(&mut self, _: usize) {}

    fn start_split(&mut self, _: &str, _: &Progress) {}

    fn update_split(&mut self, _: &Progress) {}

    fn end_split(&mut self, _: &Progress) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for NoScreen {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}

    fn on_test_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl EvaluationProgressLogger for NoScreen {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: &Progress) {}

    fn update_test_progress(&mut self, _: &Progress) {}

    fn end_test(&mut self, _: &Progress) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}
