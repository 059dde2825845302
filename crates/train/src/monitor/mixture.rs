//! How much of each source of a mixture has been trained on.

use super::{Monitor, MonitorError, Setup, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 2] = [
    MetricSpec::new(
        "data/{source}/tokens",
        "tokens",
        "every step with `data.sources`",
        "Tokens of the source trained on so far, over all launches.",
    ),
    MetricSpec::new(
        "data/{source}/epoch",
        "",
        "every step with `data.sources`",
        "Passes over the training text of the source that are complete.",
    ),
];

/// The sources of a mixture; nothing where there is one text.
pub(super) struct Mixture {
    context: usize,
}

impl Mixture {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self {
            context: setup.config.model.context,
        }
    }
}

impl Monitor for Mixture {
    fn name(&self) -> &'static str {
        "mixture"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        for (name, source) in step.data.sources() {
            let tokens = source.samples * self.context as u64;
            record.push(format!("data/{name}/tokens"), tokens as f64);
            record.push(format!("data/{name}/epoch"), source.cursor.epoch as f64);
        }
        Ok(())
    }
}
