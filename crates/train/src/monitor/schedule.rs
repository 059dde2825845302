//! Where a scheduled normalization is.

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "taper/gate",
    "",
    "every step with the normalization `taper`",
    "Part of the normalization that is left: 1 is RMSNorm, 0 a scale of channels.",
)];

/// The metric that a scheduled normalization names; one of a program's own has a name of its own.
pub(super) struct NormSchedule;

impl Monitor for NormSchedule {
    fn name(&self) -> &'static str {
        "norm schedule"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some((name, value)) = step.scheduled {
            record.push(name, value);
        }
        Ok(())
    }
}
