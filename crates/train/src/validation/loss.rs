//! Loss and bits per byte.

use super::{ValidationEntry, ValidationSplit};
use crate::evaluate::evaluate;
use crate::metrics::{MetricSpec, Record};
use crate::monitor::MonitorError;
use crate::task::Task;

static SPECS: [MetricSpec; 2] = [
    MetricSpec::new(
        "val/loss",
        "nats/token",
        "every `train.eval_every` steps and after the last one",
        "Cross-entropy on the first `train.eval_tokens` tokens of the validation split.",
    ),
    MetricSpec::new(
        "val/bpb",
        "bits/byte",
        "with `val/loss`, where it is known how much text the tokens stand for",
        "Bits per byte of the text, comparable between tokenizers.",
    ),
];

/// Cross-entropy of the next token.
pub(super) struct Loss;

impl ValidationEntry for Loss {
    fn name(&self) -> &'static str {
        "validation loss"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn run(
        &mut self,
        task: &Task,
        split: &ValidationSplit,
        record: &mut Record,
    ) -> Result<(), MonitorError> {
        let score = evaluate(task, split.batches()?)?;
        record.push("val/loss", score.nats_per_token());
        if let Some(bits) = score.bits_per_byte() {
            record.push("val/bpb", bits);
        }
        Ok(())
    }
}
