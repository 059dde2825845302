//! What reading text that lies elsewhere took.

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 2] = [
    MetricSpec::new(
        "perf/fetched_bytes",
        "bytes",
        "every step, with text that is read from elsewhere while it is trained on",
        "Bytes of files and listings that came over the network since the launch.",
    ),
    MetricSpec::new(
        "perf/retries",
        "",
        "with `perf/fetched_bytes`",
        "Failures since the launch that were met with another attempt.",
    ),
];

/// Bytes and retries.
pub(super) struct Network;

impl Monitor for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some(traffic) = step.traffic {
            record.push("perf/fetched_bytes", traffic.bytes as f64);
            record.push("perf/retries", traffic.retries as f64);
        }
        Ok(())
    }
}
