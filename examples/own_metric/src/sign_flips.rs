//! A monitor: the share of weights whose sign an update changed.

use evenburn::model::{Decoder, weights};
use evenburn::train::metrics::{MetricSpec, Record};
use evenburn::train::monitor::{Monitor, MonitorError, Probes, StepView};

static SPECS: [MetricSpec; 1] = [MetricSpec::new(
    "update/sign_flips",
    "share",
    "every tenth step",
    "Weights whose sign the update changed.",
)];

pub(crate) struct SignFlips;

impl Monitor for SignFlips {
    fn name(&self) -> &'static str {
        "sign flips"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn wants(&self, step: u64) -> Probes {
        Probes {
            weights_before: step.is_multiple_of(10),
            ..Probes::default()
        }
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some(before) = step.weights_before() {
            let (before, after) = (numbers(before)?, numbers(&step.task.decoder)?);
            let flipped = before.iter().zip(&after).filter(|(b, a)| *b * *a < 0.0);
            let share = flipped.count() as f64 / before.len() as f64;
            record.push("update/sign_flips", share);
        }
        Ok(())
    }
}

fn numbers(decoder: &Decoder) -> Result<Vec<f32>, MonitorError> {
    let mut all = Vec::new();
    for (_, data) in weights::collect(decoder) {
        all.extend(data.try_to_vec::<f32>()?);
    }
    Ok(all)
}
