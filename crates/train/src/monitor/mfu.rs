//! Model FLOPs utilization.

use super::speed::tokens_per_sec;
use super::{Monitor, MonitorError, Setup, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "perf/mfu",
    "share",
    "every step with `metrics.peak_tflops`",
    "Model FLOPs utilization: arithmetic that the model's tokens need over what the device could have done in the step's \
    time (PaLM, 2204.02311, appendix B).",
)];

/// `tokens/s * FLOPs/token / peak`.
pub(super) struct Mfu {
    flops_per_token: f64,
    /// In FLOP/s; nothing where nobody said what it is.
    peak: Option<f64>,
}

impl Mfu {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self {
            flops_per_token: setup.plan.cost().train_flops_per_token,
            peak: setup
                .config
                .metrics
                .peak_tflops
                .map(|peak| peak * 1e12 * setup.ranks as f64),
        }
    }
}

impl Monitor for Mfu {
    fn name(&self) -> &'static str {
        "mfu"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some(peak) = self.peak {
            record.push(
                "perf/mfu",
                tokens_per_sec(step) * self.flops_per_token / peak,
            );
        }
        Ok(())
    }
}
