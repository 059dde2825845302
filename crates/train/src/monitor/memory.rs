//! How much memory the process took.

use super::{Monitor, MonitorError, StepView};
use crate::memory::peak_rss;
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "mem/peak_rss",
    "bytes",
    "every step where the system tells",
    "Largest resident set of the process so far.",
)];

/// Memory of the process.
pub(super) struct Memory;

impl Monitor for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, _: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some(bytes) = peak_rss() {
            record.push("mem/peak_rss", bytes as f64);
        }
        Ok(())
    }
}
