//! Time that a step spends on other ranks.

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 2] = [
    MetricSpec::new(
        "perf/wait_ms",
        "ms",
        "every step with several ranks",
        "Of the step, time from the end of rank 0's own part until the last rank had its own.",
    ),
    MetricSpec::new(
        "perf/comm_ms",
        "ms",
        "every step with several ranks",
        "Of the step, time in which gradients and weights went between ranks, additions included.",
    ),
];

/// Waiting and communication.
pub(super) struct Ranks;

impl Monitor for Ranks {
    fn name(&self) -> &'static str {
        "ranks"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some(times) = step.times.ranks {
            record.push("perf/wait_ms", times.others.as_secs_f64() * 1e3);
            record.push("perf/comm_ms", times.communication.as_secs_f64() * 1e3);
        }
        Ok(())
    }
}
