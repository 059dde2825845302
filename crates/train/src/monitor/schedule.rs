//! Where a scheduled normalization is.

use evenburn_model::Plan;
use evenburn_model::function::Moment;

use super::{Monitor, MonitorError, Setup, StepView};
use crate::metrics::{MetricSpec, Record};

/// Of the one that is built in.
const TAPER: MetricSpec = MetricSpec::new(
    "taper/gate",
    "",
    "every step with the normalization `taper`",
    "Part of the normalization that is left: 1 is RMSNorm, 0 a scale of channels.",
);

/// The metric that a scheduled normalization names; one of a program's own has a name of its own.
pub(super) struct NormSchedule {
    specs: Vec<MetricSpec>,
}

impl NormSchedule {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let mut specs = vec![TAPER];
        for name in metrics(setup.plan) {
            if !specs.iter().any(|spec| spec.name == name) {
                let (when, meaning) = (
                    "every step with the normalization that names it",
                    "Where a scheduled normalization is.",
                );
                specs.push(MetricSpec::new(name, "", when, meaning));
            }
        }
        Self { specs }
    }
}

/// Names of the metrics of the normalizations that change in the course of a run.
fn metrics(plan: &Plan) -> impl Iterator<Item = &'static str> {
    let start = Moment { step: 0, total: 1 };
    let residuals = plan
        .layers
        .iter()
        .flat_map(|layer| [&layer.attn_residual, &layer.mlp_residual]);
    let norms = residuals.flat_map(|residual| residual.norms().map(|(_, norm)| norm));
    let all = norms.chain(plan.ends.head.final_norm.as_ref());
    all.filter_map(move |norm| Some(norm.function.scheduled()?.metric(start)?.0))
}

impl Monitor for NormSchedule {
    fn name(&self) -> &'static str {
        "norm schedule"
    }

    fn specs(&self) -> &[MetricSpec] {
        &self.specs
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        if let Some((name, value)) = step.scheduled {
            record.push(name, value);
        }
        Ok(())
    }
}
