//! Burn's terminal dashboard, and what has to stand around it.
//!
//! The dashboard puts the terminal into raw mode, in which Ctrl-C is a key like any other, and listens to `q` alone.
//! [`Dashboard`] passes everything on to it and turns the terminal's signals back on, so that Ctrl-C interrupts the run
//! through the same handler as everywhere else.

use std::sync::Arc;

use burn::data::dataloader::Progress;
use burn::tensor::TensorReadError;
use burn_train::Interrupter;
use burn_train::LearnerSummary;
use burn_train::logger::{EvaluationProgressLogger, MetricLogger, TrainingProgressLogger};
use burn_train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn_train::metric::{
    Metric, MetricAttributes, MetricDefinition, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

use crate::task::Shown;

/// One figure of the dashboard.
#[derive(Clone)]
pub(crate) struct Figure {
    name: MetricName,
    unit: Option<&'static str>,
    rising: bool,
    of: fn(&Shown) -> Option<f64>,
    last: Option<f64>,
}

impl Figure {
    fn new(
        name: &str,
        unit: Option<&'static str>,
        rising: bool,
        of: fn(&Shown) -> Option<f64>,
    ) -> Self {
        Self {
            name: Arc::new(name.to_owned()),
            unit,
            rising,
            of,
            last: None,
        }
    }

    /// What is shown of every step.
    pub(crate) fn of_training() -> [Self; 4] {
        [
            Self::new("Loss", Some("nats"), false, |s| Some(s.loss)),
            Self::new("Learning rate", None, false, |s| s.lr),
            Self::new("Gradient norm", None, false, |s| s.grad_norm),
            Self::new("Tokens per second", None, true, |s| s.tokens_per_sec),
        ]
    }

    /// What is shown of every evaluation.
    pub(crate) fn of_evaluation() -> [Self; 2] {
        [
            Self::new("Loss", Some("nats"), false, |s| Some(s.loss)),
            Self::new("Bits per byte", None, false, |s| s.bpb),
        ]
    }

    fn entry(&self) -> SerializedEntry {
        match (self.last, self.unit) {
            (None, unit) => SerializedEntry::not_available(unit),
            (Some(value), unit) => {
                let shown = if value == 0.0 || (1e-2..1e5).contains(&value.abs()) {
                    format!("{value:.4}")
                } else {
                    format!("{value:.3e}")
                };
                let unit = unit.map(|u| format!(" {u}")).unwrap_or_default();
                SerializedEntry::new(format!("{shown}{unit}"), value.to_string())
            }
        }
    }
}

impl Metric for Figure {
    type Input = Shown;

    fn name(&self) -> MetricName {
        Arc::clone(&self.name)
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: self.unit.map(str::to_owned),
            higher_is_better: self.rising,
        }
        .into()
    }

    fn update(
        &mut self,
        shown: &Shown,
        _: &MetricMetadata,
    ) -> Result<SerializedEntry, TensorReadError> {
        self.last = (self.of)(shown);
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {}
}

impl Numeric for Figure {
    fn value(&self) -> Option<NumericEntry> {
        self.last.map(NumericEntry::Value)
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.last.unwrap_or(f64::NAN))
    }
}

/// The trainer writes its own files; without a logger burn-train would write some more.
pub(crate) struct NoFiles;

impl MetricLogger for NoFiles {
    fn log(&mut self, _: MetricsUpdate, _: usize, _: &Split) {}

    fn read_numeric(&mut self, _: &str, _: usize, _: &Split) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _: EpochSummary) {}
}

/// Burn's dashboard with working signals, or nothing at all.
pub(crate) struct Dashboard(Option<TuiMetricsRendererWrapper>);

impl Dashboard {
    /// Opens Burn's dashboard on the terminal.
    pub(crate) fn open(interrupter: Interrupter) -> Self {
        #[cfg(unix)]
        crate::terminal::outlive();
        Self(Some(TuiMetricsRendererWrapper::new(interrupter, None)))
    }

    /// Shows nothing: where there is no terminal, progress lines are the trainer's own.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    fn with(&mut self, call: impl FnOnce(&mut TuiMetricsRendererWrapper)) {
        if let Some(dashboard) = &mut self.0 {
            signals::keep_on();
            call(dashboard);
        }
    }
}

impl MetricsRendererTraining for Dashboard {
    fn update_train(&mut self, state: MetricState) {
        self.with(|d| d.update_train(state));
    }

    fn update_valid(&mut self, state: MetricState) {
        self.with(|d| d.update_valid(state));
    }

    fn on_train_end(
        &mut self,
        summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.0.as_mut().map_or(Ok(()), |d| d.on_train_end(summary))
    }
}

impl MetricsRendererEvaluation for Dashboard {
    fn update_test(&mut self, name: EvaluationName, state: MetricState) {
        self.with(|d| d.update_test(name, state));
    }

    fn on_test_end(
        &mut self,
        summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        self.0.as_mut().map_or(Ok(()), |d| d.on_test_end(summary))
    }
}

impl TrainingProgressLogger for Dashboard {
    fn start(&mut self, epochs: usize, first: usize, items: Option<usize>, label: Option<&str>) {
        self.with(|d| TrainingProgressLogger::start(d, epochs, first, items, label));
    }

    fn update_epoch(&mut self, epoch: usize) {
        self.with(|d| d.update_epoch(epoch));
    }

    fn start_split(&mut self, split: &str, progress: &Progress) {
        self.with(|d| d.start_split(split, progress));
    }

    fn update_split(&mut self, progress: &Progress) {
        self.with(|d| d.update_split(progress));
    }

    fn end_split(&mut self, progress: &Progress) {
        self.with(|d| d.end_split(progress));
    }

    fn end(&mut self) {
        self.with(TrainingProgressLogger::end);
    }

    fn log_event_training(&mut self, event: String) {
        self.with(|d| d.log_event_training(event));
    }
}

impl EvaluationProgressLogger for Dashboard {
    fn start_global_progress(&mut self, total: usize) {
        self.with(|d| d.start_global_progress(total));
    }

    fn start_test(&mut self, name: &str, progress: &Progress) {
        self.with(|d| d.start_test(name, progress));
    }

    fn update_test_progress(&mut self, progress: &Progress) {
        self.with(|d| d.update_test_progress(progress));
    }

    fn end_test(&mut self, progress: &Progress) {
        self.with(|d| d.end_test(progress));
    }

    fn end_global_progress(&mut self) {
        self.with(EvaluationProgressLogger::end_global_progress);
    }

    fn log_event_evaluation(&mut self, event: String) {
        self.with(|d| d.log_event_evaluation(event));
    }
}

impl MetricsRenderer for Dashboard {
    fn manual_close(&mut self) {
        self.with(MetricsRenderer::manual_close);
    }

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.with(|d| d.register_metric(definition));
    }
}

#[cfg(unix)]
mod signals {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    /// Turns Ctrl-C back into a signal. The dashboard's own thread enters raw mode at some time after it was started,
    /// so this is asked at every event; it costs one system call. Leaving raw mode restores what was before it.
    pub(super) fn keep_on() {
        let terminal = std::io::stdin();
        if let Ok(mut modes) = tcgetattr(&terminal)
            && !modes.local_modes.contains(LocalModes::ISIG)
        {
            modes.local_modes.insert(LocalModes::ISIG);
            // Without it, `q` still stops the run.
            let _ = tcsetattr(&terminal, OptionalActions::Now, &modes);
        }
    }
}

#[cfg(not(unix))]
mod signals {
    /// Elsewhere `q` stops the run.
    pub(super) fn keep_on() {}
}
