//! The factor on the learning rate at each step.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Linear warm-up, then one of five shapes.
///
/// With `w` warm-up steps of `T` and steps counted from 0: during warm-up, `s < w`, the factor is
/// `(s + 1) / (w + 1)`; at `s = w` it is 1. What follows is described at each [`Shape`]; the last
/// step is one short of the final fraction, which the factor keeps from `T` on. Warm-up and linear
/// decay are those of the SimpleGPT training code.
///
/// ```
/// use evenburn_optim::{Schedule, Shape, Warmup};
///
/// let schedule = Schedule {
///     shape: Shape::Linear,
///     warmup: Warmup::Steps(4),
///     final_fraction: 0.0,
/// };
/// schedule.check(14)?;
/// assert_eq!(schedule.factor(0, 14), 0.2);
/// assert_eq!(schedule.factor(4, 14), 1.0);
/// assert_eq!(schedule.factor(9, 14), 0.5);
/// # Ok::<(), evenburn_optim::ScheduleError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// What follows the warm-up.
    pub shape: Shape,
    /// How long the warm-up lasts.
    pub warmup: Warmup,
    /// Where the factor ends, as a fraction of the peak.
    pub final_fraction: f64,
}

impl Default for Schedule {
    /// One hundredth of the run as warm-up, then linear to zero (the SimpleGPT training code).
    fn default() -> Self {
        Self {
            shape: Shape::Linear,
            warmup: Warmup::Fraction(0.01),
            final_fraction: 0.0,
        }
    }
}

/// What follows the warm-up. `p` runs from 0 at its end to 1 at the end of the run, `f` is the
/// final fraction.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Shape {
    /// 1 throughout; the final fraction has no part in it.
    Constant,
    /// `f + (1 - f) (1 - p)`.
    #[default]
    Linear,
    /// `f + (1 - f) (1 + cos(pi p)) / 2`.
    Cosine,
    /// Warm-up, stable, decay: 1 until the last part of the run, then down to `f`.
    Wsd {
        /// The length of that part, as a fraction of the run.
        decay_fraction: f64,
        /// The way down.
        descent: Descent,
    },
    /// `f + (1 - f) sqrt((w + 1) / (s + 1))` (Vaswani et al., arXiv 1706.03762, section 5.3, with
    /// a factor of 1 at the end of the warm-up): needs no end.
    InverseSqrt,
}

/// The way down from 1 to 0 as `p` runs from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Descent {
    /// `1 - p`.
    #[default]
    Linear,
    /// `(1 + cos(pi p)) / 2`.
    Cosine,
    /// `1 - sqrt(p)` (Haegele et al., arXiv 2405.18392, section 3).
    OneMinusSqrt,
}

impl Descent {
    fn at(self, p: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - p,
            Self::Cosine => 0.5 * (1.0 + (PI * p).cos()),
            Self::OneMinusSqrt => 1.0 - p.sqrt(),
        }
    }
}

/// A decay that was asked for while a run was under way: from step `start` on, over `steps`
/// steps, from what the schedule had reached down to `final_fraction` of the peak.
///
/// ```
/// use evenburn_optim::{Cooldown, Descent, Schedule, Shape};
///
/// let schedule = Schedule { shape: Shape::Constant, ..Schedule::default() };
/// let cooldown = Cooldown { start: 600, steps: 4, descent: Descent::Linear };
/// assert_eq!(cooldown.factor(&schedule, 599, 1000), 1.0);
/// assert_eq!(cooldown.factor(&schedule, 602, 1000), 0.5);
/// assert_eq!(cooldown.end(), 604);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    /// Steps taken when it was asked for.
    pub start: u64,
    /// Its length.
    pub steps: u64,
    /// The way down.
    pub descent: Descent,
}

impl Cooldown {
    /// Steps of the run it ends.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.steps)
    }

    /// The factor at `step` of a run of `total` steps under `schedule` that this decay cuts short.
    pub fn factor(&self, schedule: &Schedule, step: u64, total: u64) -> f64 {
        let reached = schedule.factor(step.min(self.start), total);
        let bottom = schedule.final_fraction.min(reached);
        let p = progress(step, self.start, self.end());
        bottom + (reached - bottom) * self.descent.at(p)
    }
}

/// How long the warm-up lasts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Warmup {
    /// So many steps.
    Steps(u64),
    /// This fraction of the run, rounded to whole steps.
    Fraction(f64),
}

impl Warmup {
    /// Its steps in a run of `total`.
    pub fn steps(self, total: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Fraction(fraction) => part(fraction, total),
        }
    }
}

/// A fraction of the run in whole steps.
fn part(fraction: f64, total: u64) -> u64 {
    (fraction * total as f64).round() as u64
}

impl Schedule {
    /// The factor at `step` (from 0) of a run of `total` steps.
    ///
    /// Between 0 and 1 for a schedule that [`check`](Self::check) accepts.
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        let warmup = self.warmup.steps(total);
        if step < warmup {
            return (step + 1) as f64 / (warmup as f64 + 1.0);
        }
        let down = |progress: f64| self.final_fraction + (1.0 - self.final_fraction) * progress;
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Linear => down(Descent::Linear.at(progress(step, warmup, total))),
            Shape::Cosine => down(Descent::Cosine.at(progress(step, warmup, total))),
            Shape::Wsd {
                decay_fraction,
                descent,
            } => {
                let decay = part(decay_fraction, total);
                let stable = total.saturating_sub(decay).max(warmup);
                down(descent.at(progress(step, stable, total)))
            }
            Shape::InverseSqrt => down(((warmup as f64 + 1.0) / (step as f64 + 1.0)).sqrt()),
        }
    }

    /// The first of `steps` steps, counted from 0, whose factor in a run of `total` steps is not, bit for bit, that of
    /// `other` in a run of `other_total`; nothing where they agree on all of them.
    ///
    /// A run that has taken `steps` steps under one may go on under the other exactly if there is none.
    ///
    /// ```
    /// use evenburn_optim::{Descent, Schedule, Shape, Warmup};
    ///
    /// let wsd = Schedule {
    ///     shape: Shape::Wsd { decay_fraction: 0.2, descent: Descent::Linear },
    ///     warmup: Warmup::Steps(10),
    ///     final_fraction: 0.0,
    /// };
    /// // Both are stable until the shorter one begins to decay.
    /// assert_eq!(wsd.first_difference(100, &wsd, 200, 80), None);
    /// assert_eq!(wsd.first_difference(100, &wsd, 200, 100), Some(81));
    /// ```
    pub fn first_difference(
        &self,
        total: u64,
        other: &Self,
        other_total: u64,
        steps: u64,
    ) -> Option<u64> {
        (0..steps).find(|step| {
            self.factor(*step, total).to_bits() != other.factor(*step, other_total).to_bits()
        })
    }

    /// Whether this schedule fits a run of `total` steps.
    ///
    /// # Errors
    /// [`ScheduleError`]: a run without steps, a fraction outside its range, a warm-up that leaves
    /// nothing after it, or one that overlaps the decay.
    pub fn check(&self, total: u64) -> Result<(), ScheduleError> {
        if total == 0 {
            return Err(ScheduleError::NoSteps);
        }
        let fraction = |name, value: f64| {
            if (0.0..=1.0).contains(&value) {
                return Ok(());
            }
            Err(ScheduleError::Fraction { name, value })
        };
        fraction("final_fraction", self.final_fraction)?;
        if let Warmup::Fraction(value) = self.warmup {
            fraction("warmup_fraction", value)?;
        }
        let warmup = self.warmup.steps(total);
        if warmup >= total {
            return Err(ScheduleError::WarmupTooLong { warmup, total });
        }
        if let Shape::Wsd { decay_fraction, .. } = self.shape {
            fraction("decay_fraction", decay_fraction)?;
            let decay = part(decay_fraction, total);
            if warmup + decay > total {
                return Err(ScheduleError::Overlap {
                    warmup,
                    decay,
                    total,
                });
            }
        }
        Ok(())
    }
}

/// From 0 at `start` to 1 at `end`, and 1 after it.
fn progress(step: u64, start: u64, end: u64) -> f64 {
    if step >= end {
        return 1.0;
    }
    step.saturating_sub(start) as f64 / (end - start.min(step)) as f64
}

/// A schedule that doesn't fit its run.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The run has no steps.
    #[error("a run of 0 steps has no schedule")]
    NoSteps,
    /// A fraction that isn't one.
    #[error("{name} must be between 0 and 1, not {value}")]
    Fraction {
        /// The key.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// Nothing is left after the warm-up.
    #[error("a warm-up of {warmup} steps leaves nothing of a run of {total}")]
    WarmupTooLong {
        /// Warm-up steps.
        warmup: u64,
        /// Steps of the run.
        total: u64,
    },
    /// The decay would begin during the warm-up.
    #[error("a warm-up of {warmup} steps and a decay of {decay} don't fit a run of {total}")]
    Overlap {
        /// Warm-up steps.
        warmup: u64,
        /// Decay steps.
        decay: u64,
        /// Steps of the run.
        total: u64,
    },
}
