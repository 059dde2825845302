//! A validation entry: how often the likeliest next token is the next token.

use evenburn::train::metrics::{MetricSpec, Record};
use evenburn::train::monitor::MonitorError;
use evenburn::train::validation::{Evaluation, ValidationEntry};

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "val/accuracy",
    "share",
    "with `val/loss`",
    "Next tokens that the model finds the likeliest.",
)];

pub(crate) struct Accuracy;

impl ValidationEntry for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn run(&mut self, on: &mut Evaluation<'_>, record: &mut Record) -> Result<(), MonitorError> {
        let (mut right, mut scored) = (0, 0);
        for batch in on.split().batches()? {
            let batch = batch?;
            let likeliest = on.task().logits(&batch).argmax(2).try_into_data()?;
            let likeliest = likeliest.convert::<i32>().try_to_vec::<i32>()?;
            let pairs = likeliest.iter().zip(&batch.targets);
            right += pairs.filter(|(found, target)| found == target).count();
            scored += batch.scored();
        }
        record.push("val/accuracy", right as f64 / scored as f64);
        Ok(())
    }
}
