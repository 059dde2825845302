//! The largest score of attention, where scores are clipped.

use super::{Monitor, MonitorError, Probes, Setup, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "attn/largest_score",
    "",
    "every step with `optim.qk_clip`",
    "Largest attention score of any block and head on the step's last micro-batch, after the update and before it is \
    clipped.",
)];

/// Looks at scores that are computed anyway.
pub(super) struct AttentionScores {
    clipped: bool,
}

impl AttentionScores {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        Self {
            clipped: setup.config.optim.qk_clip > 0.0,
        }
    }
}

impl Monitor for AttentionScores {
    fn name(&self) -> &'static str {
        "attention scores"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn wants(&self, _: u64) -> Probes {
        Probes {
            attention_scores: self.clipped,
            ..Probes::default()
        }
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some(blocks) = step.attention_scores() {
            let all = blocks.iter().flatten().copied();
            record.push("attn/largest_score", all.fold(f64::NEG_INFINITY, f64::max));
        }
        Ok(())
    }
}
