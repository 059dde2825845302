//! What validation entries measured after a step.

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

/// Gives the values of [validation entries](crate::validation) their place in the record; the entries describe them.
pub(super) struct Validation;

impl Monitor for Validation {
    fn name(&self) -> &'static str {
        "validation"
    }

    fn specs(&self) -> &[MetricSpec] {
        &[]
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        record.extend(step.validation);
        Ok(())
    }
}
