//! `evenburn cooldown`.

use crate::args::{Cooldown, DecayShape};
use crate::output::say;
use anyhow::Result;
use evenburn_optim::Descent;
use evenburn_train::Registry;
use evenburn_train::request_cooldown;

pub(super) fn run(registry: &Registry, arguments: &Cooldown) -> Result<()> {
    let descent = arguments.shape.map(|shape| match shape {
        DecayShape::Linear => Descent::Linear,
        DecayShape::Cosine => Descent::Cosine,
        DecayShape::OneMinusSqrt => Descent::OneMinusSqrt,
    });
    request_cooldown(registry, &arguments.run, arguments.steps, descent)?;
    say!(
        "{} ends with a decay of {} steps, which begins with its next step",
        arguments.run.display(),
        arguments.steps
    )?;
    Ok(())
}
