//! The rate of each step of a run: its schedule, and a decay that was started by hand.

use std::path::Path;

use evenburn_optim::{Cooldown, Schedule};

use crate::cooldown::{self, Found};
use crate::error::TrainError;

/// The rate of a run.
#[derive(Debug, Clone)]
pub(crate) struct LearningRate {
    /// `optim.lr`.
    peak: f64,
    schedule: Schedule,
    /// Steps that the schedule spans.
    pub(crate) total: u64,
    /// A decay started by hand, which ends the run.
    cooldown: Option<Cooldown>,
}

impl LearningRate {
    pub(crate) fn new(peak: f64, schedule: Schedule, total: u64) -> Self {
        Self {
            peak,
            schedule,
            total,
            cooldown: None,
        }
    }

    /// The part of the peak that the step after `step` steps has.
    pub(crate) fn factor(&self, step: u64) -> f64 {
        match &self.cooldown {
            Some(cooldown) => cooldown.factor(&self.schedule, step, self.total),
            None => self.schedule.factor(step, self.total),
        }
    }

    /// The rate at a part of the peak.
    pub(crate) fn at(&self, factor: f64) -> f64 {
        self.peak * factor
    }

    /// Steps of the whole run: those of the budget, or until the end of a decay started by hand.
    pub(crate) fn end(&self) -> u64 {
        self.cooldown.map_or(self.total, |cooldown| cooldown.end())
    }

    /// Takes up a decay that somebody has asked for since the last step; what to say about it.
    pub(crate) fn look_for_cooldown(
        &mut self,
        run: &Path,
        step: u64,
    ) -> Result<Option<String>, TrainError> {
        if self.cooldown.is_some() {
            return Ok(None);
        }
        Ok(
            match cooldown::of_run(run, &self.schedule, step, self.total)? {
                Found::Nothing => None,
                Found::TooLate(why) => Some(why),
                Found::Decay(cooldown) => {
                    self.cooldown = Some(cooldown);
                    let (start, end) = (cooldown.start, cooldown.end());
                    Some(format!("the rate decays from step {start} to step {end}"))
                }
            },
        )
    }
}
