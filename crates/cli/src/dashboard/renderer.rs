//! The dashboard, as burn-train draws a run with it.
//!
//! burn-train sends what happens to a [`MetricsRenderer`]. Its own one for terminals is made for runs that count epochs, and
//! draws everything twice for one that counts steps; this one shows each thing once, and leaves Ctrl-C a signal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenburn::burn::data::dataloader::Progress;
use evenburn_train::burn_train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use evenburn_train::burn_train::metric::{MetricDefinition, MetricId, MetricName};
use evenburn_train::burn_train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use evenburn_train::burn_train::{Interrupter, LearnerSummary};

use super::board::{Board, Part};
use super::screen::Screen;

/// Takes the terminal. Where that fails nothing is shown, and the run goes on.
pub(crate) fn open(interrupter: Interrupter) -> Box<dyn MetricsRenderer> {
    let board = Arc::default();
    let stop = move || interrupter.stop(Some("stopped from the dashboard"));
    let screen = Screen::open(Arc::clone(&board), stop).ok();
    Box::new(Renderer::on(board, screen))
}

/// A board, and the screen it is seen on.
struct Renderer {
    board: Arc<Mutex<Board>>,
    names: HashMap<MetricId, MetricName>,
    /// Closes with the dashboard; absent where the terminal couldn't be taken.
    _screen: Option<Screen>,
}

impl Renderer {
    fn on(board: Arc<Mutex<Board>>, screen: Option<Screen>) -> Self {
        Self {
            board,
            names: HashMap::new(),
            _screen: screen,
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, part: Part, state: MetricState) {
        let (entry, value) = match state {
            MetricState::Generic(entry) => (entry, None),
            MetricState::Numeric(entry, value) => (entry, value),
        };
        if let Some(name) = self.names.get(&entry.metric_id) {
            let value = value.map(|value| value.current());
            let text = &entry.serialized_entry.formatted;
            self.board().update(part, name, text, value);
        }
    }
}

impl MetricsRendererTraining for Renderer {
    fn update_train(&mut self, state: MetricState) {
        self.update(Part::Training, state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.update(Part::Validation, state);
    }

    fn on_train_end(
        &mut self,
        _: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl TrainingProgressLogger for Renderer {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, label: Option<&str>) {
        self.board().name(label.unwrap_or_default());
    }

    fn update_epoch(&mut self, _: usize) {}

    fn start_split(&mut self, _: &str, progress: &Progress) {
        self.update_split(progress);
    }

    fn update_split(&mut self, progress: &Progress) {
        let total = progress.total.unwrap_or(0) as u64;
        self.board()
            .progress(progress.items_processed as u64, total);
    }

    fn end_split(&mut self, progress: &Progress) {
        self.update_split(progress);
    }

    fn end(&mut self) {}

    fn log_event_training(&mut self, _: String) {}
}

/// Runs are evaluated as part of their training.
impl MetricsRendererEvaluation for Renderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}

    fn on_test_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl EvaluationProgressLogger for Renderer {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: &Progress) {}

    fn update_test_progress(&mut self, _: &Progress) {}

    fn end_test(&mut self, _: &Progress) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRenderer for Renderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.board().add(&definition.name);
        self.names.insert(definition.metric_id, definition.name);
    }
}

#[cfg(test)]
mod tests {
    use evenburn_train::burn_train::metric::{
        MetricAttributes, MetricEntry, NumericEntry, SerializedEntry,
    };

    use super::super::board::tests::drawn;
    use super::*;

    /// What the trainer shows of every step, and of every evaluation.
    const TRAINING: [&str; 4] = [
        "Loss",
        "Learning rate",
        "Gradient norm",
        "Tokens per second",
    ];
    const EVALUATION: [&str; 2] = ["Loss", "Bits per byte"];

    fn id(figure: &str) -> MetricId {
        MetricId::new(Arc::new(figure.to_owned()))
    }

    fn send(dashboard: &mut Renderer, part: Part, figure: &str, value: f64) {
        let id = id(figure);
        let text = SerializedEntry::new(format!("{value:.4}"), value.to_string());
        let state =
            MetricState::Numeric(MetricEntry::new(id, text), Some(NumericEntry::Value(value)));
        match part {
            Part::Training => dashboard.update_train(state),
            Part::Validation => dashboard.update_valid(state),
        }
    }

    /// What burn-train calls in a run of nine steps with an evaluation at the last, in its order.
    #[test]
    fn a_run_as_burn_train_tells_it_is_shown_once() {
        let mut dashboard = Renderer::on(Arc::default(), None);
        for figure in TRAINING.into_iter().chain(EVALUATION) {
            dashboard.register_metric(MetricDefinition {
                metric_id: id(figure),
                name: Arc::new(figure.to_owned()),
                description: None,
                attributes: MetricAttributes::None,
            });
        }
        let steps = |done| Progress::new(done, 18, Some("steps".to_owned()));
        TrainingProgressLogger::start(&mut dashboard, 1, 1, None, Some("tiny"));
        dashboard.start_split("train", &steps(0));
        for step in 1..=9 {
            for figure in TRAINING {
                send(&mut dashboard, Part::Training, figure, 1.0 / step as f64);
            }
            dashboard.update_split(&steps(step));
            dashboard.log_event_training("Iteration".to_owned());
        }
        dashboard.start_split("valid", &steps(9));
        for figure in EVALUATION {
            send(&mut dashboard, Part::Validation, figure, 2.5);
        }
        dashboard.end_split(&steps(9));
        let shown = drawn(&dashboard.board(), 120, 36);
        for once in ["tiny", "9/18", "50 %", "Train 0.1111", "Valid 2.5000"] {
            let found = shown.matches(once).count();
            let expected = match once {
                "Train 0.1111" => 4,
                "Valid 2.5000" => 2,
                _ => 1,
            };
            assert_eq!(found, expected, "{once}:\n{shown}");
        }
        for never in ["poch", "Iteration", "Steps :"] {
            assert!(!shown.contains(never), "{never}:\n{shown}");
        }
    }
}
