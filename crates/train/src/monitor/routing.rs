//! What the routers of a mixture of experts did.

use super::{Monitor, MonitorError, StepView};
use crate::metrics::{MetricSpec, Record};

static SPECS: [MetricSpec; 4] = [
    MetricSpec::new(
        "moe/penalty",
        "nats/token",
        "every step with experts",
        "What routers and scheduled normalizations add to the loss.",
    ),
    MetricSpec::new(
        "moe/load_max/blocks.{block}",
        "",
        "every step with experts",
        "Load of the block's busiest expert, as a multiple of an even one.",
    ),
    MetricSpec::new(
        "moe/load_min/blocks.{block}",
        "",
        "every step with experts",
        "Load of the block's idlest expert, as a multiple of an even one.",
    ),
    MetricSpec::new(
        "moe/idle/blocks.{block}",
        "experts",
        "every step with experts",
        "Experts of the block that no token of the step chose.",
    ),
];

/// Loads of the experts.
pub(super) struct Routing;

impl Monitor for Routing {
    fn name(&self) -> &'static str {
        "routing"
    }

    fn specs(&self) -> &[MetricSpec] {
        &SPECS
    }

    fn after_step(&mut self, step: &StepView<'_>, record: &mut Record) -> Result<(), MonitorError> {
        let routers = step.routers;
        if routers.loads.is_empty() {
            return Ok(());
        }
        record.push("moe/penalty", routers.penalty);
        for (block, load) in routers.loads.iter().enumerate() {
            let even = load.iter().sum::<f64>() / load.len().max(1) as f64;
            let ratio = |value: f64| if even > 0.0 { value / even } else { 0.0 };
            let largest = load.iter().copied().fold(0.0, f64::max);
            let smallest = load.iter().copied().fold(f64::INFINITY, f64::min);
            let idle = load.iter().filter(|l| **l == 0.0).count();
            record.push(format!("moe/load_max/blocks.{block}"), ratio(largest));
            record.push(format!("moe/load_min/blocks.{block}"), ratio(smallest));
            record.push(format!("moe/idle/blocks.{block}"), idle as f64);
        }
        Ok(())
    }
}
