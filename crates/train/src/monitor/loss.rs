//! Loss, rate, gradient norm and tokens of every step.

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 4] = [
    MetricSpec::new(
        "train/loss",
        "nats/token",
        "every step",
        "Cross-entropy of the step's batch, without what routers and scheduled normalizations add to it.",
    ),
    MetricSpec::new(
        "train/lr",
        "",
        "every step",
        "Rate of the step, `optim.lr` times the schedule's factor.",
    ),
    MetricSpec::new(
        "train/grad_norm",
        "",
        "every step",
        "L2 norm over all gradients together, before clipping.",
    ),
    MetricSpec::new(
        "train/tokens",
        "tokens",
        "every step",
        "Tokens trained on so far, over all launches.",
    ),
];

/// What every run is followed by.
pub(super) struct Loss;

impl Monitor for Loss {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        record.push("train/loss", step.loss);
        record.push("train/lr", step.lr);
        record.push("train/grad_norm", step.optimizer.grad_norm);
        record.push("train/tokens", step.tokens as f64);
        Ok(())
    }
}
