//! Monitors: what looks at training steps and measures something.
//!
//! A monitor says which metrics it has ([`Monitor::specs`]) and, before a step, what it wants to see of it
//! ([`Monitor::wants`]); nobody pays for what nobody asks for. Between the backward pass and the update it is shown the
//! gradients where it asked for them, and after the update the step as a whole, and it adds its values to the step's
//! [`Record`]. It only ever borrows what it is shown: no monitor changes a bit of training.
//!
//! A new one is a file in this folder and a line in [`built_in`]; a program adds its own with
//! [`Trainer::monitor`](crate::Trainer::monitor) (`examples/own_metric`). `docs/metrics.md` is made of what they say.

mod attention_scores;
mod list;
mod loss;
mod memory;
mod mfu;
mod mixture;
mod network;
mod norms;
mod ranks;
mod routing;
mod schedule;
mod speed;
mod validation;
mod view;

pub(crate) use list::Monitors;
pub use view::{GradientView, GradientsOf, StepTimes, StepView};

use std::error::Error;

use evenburn_model::Plan;

use crate::config::RunConfig;
use crate::metrics::{MetricSpec, Record};

/// What goes wrong in a monitor or a validation entry; it ends the run, with the name of whatever it went wrong in.
pub type MonitorError = Box<dyn Error + Send + Sync>;

/// Measures something of training steps.
///
/// ```
/// use evenburn_train::metrics::{MetricSpec, Record};
/// use evenburn_train::monitor::{Monitor, MonitorError, StepView};
///
/// /// The smallest loss so far.
/// struct Best(f64);
///
/// static SPECS: [MetricSpec; 1] = [MetricSpec::new("train/best", "nats/token", "every step", "The smallest loss so far.")];
///
/// impl Monitor for Best {
///     fn name(&self) -> &str {
///         "best"
///     }
///
///     fn specs(&self) -> &[MetricSpec] {
///         &SPECS
///     }
///
///     fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
///         self.0 = self.0.min(step.loss);
///         record.push("train/best", self.0);
///         Ok(())
///     }
/// }
/// ```
pub trait Monitor: Send {
    /// Its name, for errors.
    fn name(&self) -> &str;

    /// Its metrics.
    fn specs(&self) -> &[MetricSpec];

    /// What it wants to see of step `step`, counted from 1; nothing unless it says so.
    fn wants(&self, _step: u64) -> Probes {
        Probes::default()
    }

    /// Looks at gradients between the backward pass and the update, as [`Probes::gradients`] and
    /// [`Probes::micro_batch_gradients`] asked.
    ///
    /// # Errors
    /// Whatever goes wrong; it ends the run.
    fn on_gradients(&mut self, _gradients: &GradientView<'_>) -> Result<(), MonitorError> {
        Ok(())
    }

    /// Adds its values of a step to the record: each has a name that its [`specs`](Self::specs) cover, and is there once;
    /// anything else ends the run with an error.
    ///
    /// # Errors
    /// Whatever goes wrong; it ends the run. The step is saved before.
    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError>;
}

/// What a monitor wants to see of a step beyond what costs nothing. Nothing is collected that nobody asks for.
#[allow(clippy::struct_excessive_bools)] // each asks for something of its own
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probes {
    /// The gradients summed over the step, with the weights before the update, in [`Monitor::on_gradients`]; borrowed, not
    /// copied.
    pub gradients: bool,
    /// The gradients of each micro-batch by itself, in [`Monitor::on_gradients`]; borrowed, not copied.
    pub micro_batch_gradients: bool,
    /// [`StepView::weights_before`]: all weights are in memory twice from the update on, also during an evaluation that follows,
    /// whose values monitors see too.
    pub weights_before: bool,
    /// [`StepView::attention_scores`]: one more forward pass on the last micro-batch, with all scores of a block at once.
    pub attention_scores: bool,
    /// [`StepView::activations`]: one more forward pass on the last micro-batch, which keeps the whole residual stream, in
    /// front of every block and behind the last; it stays in memory during an evaluation that follows. Other places inside the
    /// model can't be asked for.
    pub activations: bool,
}

impl Probes {
    /// What either wants.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            gradients: self.gradients || other.gradients,
            micro_batch_gradients: self.micro_batch_gradients || other.micro_batch_gradients,
            weights_before: self.weights_before || other.weights_before,
            attention_scores: self.attention_scores || other.attention_scores,
            activations: self.activations || other.activations,
        }
    }
}

/// What a built-in monitor is made from.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'s> {
    /// The configuration of the run.
    pub config: &'s RunConfig,
    /// The plan of its model.
    pub plan: &'s Plan,
    /// How many ranks compute it, each on a device.
    pub ranks: usize,
}

/// The monitors of every run, in the order of their values in a record.
pub fn built_in(setup: &Setup<'_>) -> Vec<Box<dyn Monitor>> {
    vec![
        Box::new(loss::Loss),
        Box::new(mixture::Mixture::new(setup)),
        Box::new(attention_scores::AttentionScores::new(setup)),
        Box::new(routing::Routing),
        Box::new(schedule::NormSchedule::new(setup)),
        Box::new(validation::Validation),
        Box::new(speed::Speed),
        Box::new(ranks::Ranks),
        Box::new(network::Network),
        Box::new(mfu::Mfu::new(setup)),
        Box::new(memory::Memory),
        Box::new(norms::Norms::new(setup)),
    ]
}
