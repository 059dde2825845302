//! What the metrics files keep of a step.

use std::time::Duration;

use super::Loop;
use super::step::Stepped;
use crate::memory::peak_rss;
use crate::metrics::Record;

impl Loop {
    /// The newest step, and what it cost; writing and showing the one before took `watched`.
    pub(super) fn record(&self, stepped: &Stepped, watched: Duration) -> Record {
        let speed = self.speed(stepped);
        let mut record = Record::new(self.state.step);
        record.push("train/loss", stepped.loss);
        record.push("train/lr", stepped.lr);
        record.push("train/grad_norm", stepped.grad_norm);
        record.push("train/tokens", self.state.tokens as f64);
        if let Some(largest) = stepped.largest_score {
            record.push("attn/largest_score", largest);
        }
        for (name, value) in stepped.routing.metrics() {
            record.push(name, value);
        }
        if let Some((name, value)) = stepped.scheduled {
            record.push(name, value);
        }
        if let Some(evaluation) = &stepped.evaluation {
            record.push("val/loss", evaluation.nats_per_token());
            if let Some(bits) = evaluation.bits_per_byte() {
                record.push("val/bpb", bits);
            }
        }
        record.push("perf/tokens_per_sec", speed);
        record.push("perf/step_ms", stepped.took.as_secs_f64() * 1e3);
        record.push("perf/data_wait_ms", stepped.data_wait.as_secs_f64() * 1e3);
        record.push(
            "perf/monitor_ms",
            (stepped.norms_took + watched).as_secs_f64() * 1e3,
        );
        if let Some(peak) = self.config.metrics.peak_tflops {
            record.push(
                "perf/mfu",
                speed * self.plan.cost().train_flops_per_token / (peak * 1e12),
            );
        }
        if let Some(bytes) = peak_rss() {
            record.push("mem/peak_rss", bytes as f64);
        }
        for (name, value) in &stepped.norms {
            record.push(name.as_str(), *value);
        }
        record
    }

    /// Tokens per second of a step.
    pub(super) fn speed(&self, stepped: &Stepped) -> f64 {
        self.tokens_per_step() as f64 / stepped.took.as_secs_f64()
    }
}
