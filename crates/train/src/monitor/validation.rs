//! What validation entries measured after a step.

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "perf/eval_ms",
    "ms",
    "with `val/*` and `eval/*`",
    "Time that they took after the step.",
)];

/// Gives the values of [validation entries](crate::validation) their place in the record, and says what they took; the entries
/// describe them.
pub(super) struct Validation;

impl Monitor for Validation {
    fn name(&self) -> &'static str {
        "validation"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        record.extend(step.validation);
        if !step.validation.values().is_empty() {
            record.push("perf/eval_ms", step.times.evaluation.as_secs_f64() * 1e3);
        }
        Ok(())
    }
}
