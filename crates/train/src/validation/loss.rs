//! Loss and bits per byte.

use super::{Evaluation, ValidationEntry};
use crate::metrics::{MetricSpec, Record};
use crate::monitor::MonitorError;
use evenburn_data::Score;

static SPECS: [MetricSpec; 4] = [
    MetricSpec::new(
        "val/loss",
        "nats/token",
        "every `train.eval_every` steps and after the last one",
        "Cross-entropy on the first `train.eval_tokens` tokens of the validation split; of a mixture, over equal parts of all \
         sources, whatever their weights.",
    ),
    MetricSpec::new(
        "val/bpb",
        "bits/byte",
        "with `val/loss`, where it is known how much text the tokens stand for",
        "Bits per byte of the text, comparable between tokenizers.",
    ),
    MetricSpec::new(
        "val/{source}/loss",
        "nats/token",
        "with `val/loss` and `data.sources`",
        "Cross-entropy on the source's part of that text.",
    ),
    MetricSpec::new(
        "val/{source}/bpb",
        "bits/byte",
        "with `val/bpb` and `data.sources`",
        "Bits per byte of the source's part.",
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

    fn run(&mut self, on: &mut Evaluation<'_>, record: &mut Record) -> Result<(), MonitorError> {
        let mut all = Score::default();
        let mut of_sources = Vec::new();
        for part in on.split().parts() {
            let score = on.evaluate(part.batches()?)?;
            all += score;
            of_sources.extend(part.name().map(|name| (format!("val/{name}"), score)));
        }
        push(record, "val", &all);
        for (name, score) in of_sources {
            push(record, &name, &score);
        }
        Ok(())
    }
}

fn push(record: &mut Record, of: &str, score: &Score) {
    record.push(format!("{of}/loss"), score.nats_per_token());
    if let Some(bits) = score.bits_per_byte() {
        record.push(format!("{of}/bpb"), bits);
    }
}
