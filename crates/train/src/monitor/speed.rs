//! How fast a step was, and where its time went.

use std::time::Duration;

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 4] = [
    MetricSpec::new(
        "perf/tokens_per_sec",
        "tokens/s",
        "every step",
        "Tokens of the step over its time, evaluations and checkpoints aside.",
    ),
    MetricSpec::new(
        "perf/step_ms",
        "ms",
        "every step",
        "Time of the step: data, gradients and update.",
    ),
    MetricSpec::new(
        "perf/data_wait_ms",
        "ms",
        "every step",
        "Of that, the time until its batches were there.",
    ),
    MetricSpec::new(
        "perf/monitor_ms",
        "ms",
        "every step",
        "Time that monitors took to look at the step's gradients and in forward passes of their own, and that measuring, \
        writing and showing the step before took, its evaluation aside.",
    ),
];

/// Times.
pub(super) struct Speed;

/// Tokens per second of a step.
pub(super) fn tokens_per_sec(step: &StepView<'_>) -> f64 {
    step.step_tokens as f64 / step.times.step.as_secs_f64()
}

impl Monitor for Speed {
    fn name(&self) -> &'static str {
        "speed"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let times = &step.times;
        record.push("perf/tokens_per_sec", tokens_per_sec(step));
        record.push("perf/step_ms", ms(times.step));
        record.push("perf/data_wait_ms", ms(times.data_wait));
        let monitors = times.gradients + times.probes + times.observed_before;
        record.push("perf/monitor_ms", ms(monitors));
        Ok(())
    }
}
