//! What may change when a run goes on: nothing that would have changed the steps it has taken.
//!
//! Budget and schedule may, where the rate of every one of those steps is the same under both; this is computed, step by
//! step, and no schedule is named. So a run under a constant rate, an inverse root or a warm-up that isn't over can be made
//! longer, one under WSD until its decay begins, and one whose rate falls from the start can't. Every other key of `optim`
//! needs `train.reset_optimizer`, under which budget and schedule are free too.

use std::path::Path;

use crate::Registry;
use evenburn_optim::Warmup;

use crate::config::{Origin, Resolved, RunConfig};
use crate::error::TrainError;
use crate::launch::{self, OPTIMIZER, Start, binding};
use crate::run_dir::{self, CHECKPOINTS};
use crate::{checkpoint, cooldown};

/// Two ways to say how long a run is.
const BUDGET: [&str; 2] = ["train.steps", "train.tokens"];

/// Keys that decide the rate of a step, as part of its peak.
const RATE: [&str; 6] = [
    "optim.schedule",
    "optim.warmup_fraction",
    "optim.warmup_steps",
    "optim.decay_fraction",
    "optim.decay_shape",
    "optim.final_fraction",
];

/// How two configurations of a run differ, of which the second begins after some steps of the first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// In nothing that decides its numbers.
    Nothing,
    /// In these keys of budget and schedule, but not in the rate of any step that is taken.
    Later(Vec<String>),
    /// In these keys of budget and schedule, and so in the rate of a step that is taken.
    Rate(Vec<String>, Difference),
    /// In these keys, all of the optimizer or of the budget.
    Optimizer(Vec<String>),
    /// In these keys.
    Other(Vec<String>),
}

/// The first step at which two schedules part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    /// Steps before it.
    agree: u64,
    was: f64,
    is: f64,
}

/// Compares two configurations of a run, of which the second begins after `taken` steps of the first.
pub(crate) fn between(old: &RunConfig, new: &RunConfig, taken: u64) -> Result<Change, TrainError> {
    let (before, after) = (binding(old)?, binding(new)?);
    let mut keys: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
    keys.sort();
    keys.dedup();
    keys.retain(|key| before.get(key) != after.get(key));
    let (was, is) = (&old.optim.recipe, &new.optim.recipe);
    if was.name() != is.name() {
        // The other recipe's options come with its name.
        let is_option =
            |name: &str| was.options().contains_key(name) || is.options().contains_key(name);
        keys.retain(|key| !key.strip_prefix(OPTIMIZER).is_some_and(is_option));
    }
    if keys.is_empty() {
        return Ok(Change::Nothing);
    }
    let is_any = |list: &[&str], key: &String| list.contains(&key.as_str());
    if keys
        .iter()
        .any(|key| !is_any(&BUDGET, key) && !is_any(&RATE, key))
    {
        let trains = |key: &String| key.starts_with(OPTIMIZER) || is_any(&BUDGET, key);
        return Ok(if keys.iter().all(trains) {
            Change::Optimizer(keys)
        } else {
            Change::Other(keys)
        });
    }
    let scheduled = launch::scheduled(old);
    let (old, old_total) = (old.optim.schedule(), steps(old)?);
    let (new, new_total) = (new.optim.schedule(), steps(new)?);
    // A normalization that changes with the length of the run would have been another one in the steps that are taken.
    if let Some(placed) = scheduled.filter(|_| taken > 0 && old_total != new_total) {
        let why = format!(
            "the run has {old_total} steps, over which `{}` (model.function.name) changes; with {new_total} it would have been \
             another network in the {taken} that are taken",
            placed.function.name()
        );
        return Err(TrainError::invalid("train.steps", why));
    }
    let first = old.first_difference(old_total, &new, new_total, taken);
    Ok(match first {
        None => Change::Later(keys),
        Some(agree) => {
            let (was, is) = (old.factor(agree, old_total), new.factor(agree, new_total));
            Change::Rate(keys, Difference { agree, was, is })
        }
    })
}

fn steps(config: &RunConfig) -> Result<u64, TrainError> {
    config.train.total_steps(config.model.context)
}

/// Steps that are taken where a launch begins, by the name of the checkpoint.
pub(crate) fn taken(start: &Start) -> Result<u64, TrainError> {
    let checkpoint = match start {
        Start::Fresh(_) => None,
        Start::Continue(run) => checkpoint::newest(&run.join(CHECKPOINTS))?,
        Start::Branch { checkpoint, .. } => Some(checkpoint.clone()),
    };
    Ok(checkpoint
        .as_deref()
        .and_then(checkpoint::step_at)
        .unwrap_or(0))
}

/// Gives a run of another length the warm-up it has had, in steps, where it was a fraction of the run.
pub(crate) fn keep_warmup(old: &RunConfig, new: &mut RunConfig) -> Result<(), TrainError> {
    let (before, after) = (old.optim.schedule().warmup, new.optim.schedule().warmup);
    let steps_before = before.steps(steps(old)?);
    if let Warmup::Fraction(_) = after
        && before == after
        && after.steps(steps(new)?) != steps_before
    {
        new.optim.warmup_steps = Some(steps_before);
    }
    Ok(())
}

/// Checks that a run, or a branch of it, may go on with a configuration; says what is new in it, if anything is.
///
/// # Errors
/// [`TrainError::ConfigDiffers`], [`TrainError::PastDiffers`], and [`TrainError::Invalid`] for a budget that the run is
/// beyond, or that a decay started by hand has overruled.
pub(crate) fn check(
    registry: &Registry,
    run: &Path,
    given: &Resolved,
    start: &Start,
) -> Result<Option<String>, TrainError> {
    let recorded = run_dir::config(registry, run)?;
    let taken = taken(start)?;
    let resets = given.config.train.reset_optimizer;
    let (was, is) = (binding(&recorded)?, binding(&given.config)?);
    let show =
        |value: Option<&toml::Value>| value.map_or_else(|| "unset".to_owned(), ToString::to_string);
    let differences = |keys: &[String]| -> Vec<String> {
        let describe = |key: &String| {
            let origin = given.origins.of(key);
            let (was, is) = (show(was.get(key)), show(is.get(key)));
            format!("{key} was {was} and is now {is} ({origin})")
        };
        // Nobody asked for a warm-up that was kept.
        let kept = |key: &&String| {
            *key == "optim.warmup_steps" && given.origins.of(key) == Origin::Default
        };
        keys.iter().filter(|key| !kept(key)).map(describe).collect()
    };
    let (keys, difference) = match between(&recorded, &given.config, taken)? {
        Change::Nothing => return Ok(None),
        Change::Other(keys) => {
            return Err(TrainError::ConfigDiffers {
                path: run.to_owned(),
                differences: differences(&keys),
                only_optimizer: false,
            });
        }
        Change::Optimizer(keys) if !resets => {
            return Err(TrainError::ConfigDiffers {
                path: run.to_owned(),
                differences: differences(&keys),
                only_optimizer: true,
            });
        }
        Change::Optimizer(keys) | Change::Later(keys) => (keys, None),
        Change::Rate(keys, difference) => (keys, Some(difference)),
    };
    check_length(run, given, start, taken).map_err(|e| e.locate(&given.origins))?;
    if let Some(difference) = difference.filter(|_| !resets) {
        return Err(TrainError::PastDiffers {
            path: run.to_owned(),
            differences: differences(&keys),
            step: difference.agree + 1,
            taken,
            was: difference.was,
            is: difference.is,
            earlier: checkpoint::newest_until(&run.join(CHECKPOINTS), difference.agree)?,
        });
    }
    let news = keys.iter().map(|key| {
        let (was, is) = (show(was.get(key)), show(is.get(key)));
        format!("{key} = {is} (was {was})")
    });
    let news: Vec<String> = news.collect();
    Ok(Some(format!(
        "from step {} on: {}",
        taken + 1,
        news.join(", ")
    )))
}

/// Whether a new budget leaves anything to do, and has any meaning.
fn check_length(run: &Path, given: &Resolved, start: &Start, taken: u64) -> Result<(), TrainError> {
    let total = steps(&given.config)?;
    let key = if given.config.train.tokens.is_some() {
        "train.tokens"
    } else {
        "train.steps"
    };
    let earlier = |step: u64| -> Result<String, TrainError> {
        let checkpoint = checkpoint::newest_until(&run.join(CHECKPOINTS), step)?;
        Ok(checkpoint.map_or_else(
            || format!("no checkpoint up to step {step} is left"),
            |path| {
                format!(
                    "--resume {} goes on from there in a new run",
                    path.display()
                )
            },
        ))
    };
    if total < taken {
        let why = format!(
            "the run has taken {taken} steps, and this budget ends after {total}; {}",
            earlier(total)?
        );
        return Err(TrainError::invalid(key, why));
    }
    let begun = cooldown::begun(run)?;
    let carried = begun.filter(|begun| matches!(start, Start::Continue(_)) || *begun < taken);
    if let Some(begun) = carried {
        let why = format!(
            "the rate decays since step {begun}, and the run ends with that whatever its budget; {}",
            earlier(begun)?
        );
        return Err(TrainError::invalid(key, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use evenburn_optim::{OptimConfig, ScheduleName};
    use std::num::NonZeroU64;

    use super::*;

    fn config(schedule: ScheduleName, steps: u64) -> RunConfig {
        let mut config = RunConfig {
            optim: OptimConfig {
                schedule,
                ..OptimConfig::default()
            },
            ..RunConfig::default()
        };
        config.train.steps = NonZeroU64::new(steps);
        config
    }

    #[test]
    fn a_budget_may_change_as_long_as_the_past_stays() {
        use ScheduleName::{Constant, Cosine, InverseSqrt, Linear, Wsd};
        // A schedule, two budgets, steps taken, and how many of them agree where not all do. A hundredth of 400 steps is
        // the warm-up, the last fifth the decay of WSD.
        let cases = [
            (Constant, 400, 800, 400, None),
            (Constant, 400, 100, 100, None),
            (InverseSqrt, 400, 800, 400, None),
            (Wsd, 400, 800, 320, None),
            (Wsd, 400, 800, 321, None),
            (Wsd, 400, 800, 322, Some(321)),
            (Wsd, 400, 800, 400, Some(321)),
            (Wsd, 400, 300, 240, None),
            (Wsd, 400, 300, 300, Some(241)),
            (Linear, 400, 800, 5, None),
            (Linear, 400, 800, 400, Some(5)),
            (Cosine, 400, 800, 4, None),
            (Cosine, 400, 800, 6, Some(5)),
        ];
        for (schedule, before, after, taken, agree) in cases {
            let old = config(schedule, before);
            let mut new = config(schedule, after);
            keep_warmup(&old, &mut new).unwrap();
            let found = match between(&old, &new, taken).unwrap() {
                Change::Later(_) => None,
                Change::Rate(_, difference) => Some(difference.agree),
                other => panic!("{other:?}"),
            };
            assert_eq!(
                found, agree,
                "{schedule:?} {before} to {after} after {taken}"
            );
        }
    }

    #[test]
    fn a_schedule_may_change_as_long_as_the_past_stays() {
        let constant = config(ScheduleName::Constant, 400);
        let mut wsd = config(ScheduleName::Wsd, 400);
        let from = |wsd: &RunConfig, taken| between(&constant, wsd, taken).unwrap();
        assert!(matches!(from(&wsd, 320), Change::Later(_)));
        assert!(matches!(from(&wsd, 400), Change::Rate(..)));
        wsd.optim.decay_fraction = 0.5;
        assert!(matches!(from(&wsd, 320), Change::Rate(..)));
        wsd.optim.lr = 1.0;
        let keys = |change| match change {
            Change::Optimizer(keys) | Change::Other(keys) => keys,
            _ => Vec::new(),
        };
        let changed = between(&constant, &wsd, 0).unwrap();
        assert!(matches!(changed, Change::Optimizer(_)));
        assert_eq!(
            keys(changed),
            ["optim.decay_fraction", "optim.lr", "optim.schedule"]
        );
        wsd.train.seed = 9;
        let changed = between(&constant, &wsd, 0).unwrap();
        assert!(matches!(changed, Change::Other(_)));
        let mut free = constant.clone();
        free.train.keep = 9;
        assert_eq!(between(&constant, &free, 400).unwrap(), Change::Nothing);
    }

    #[test]
    fn a_warmup_keeps_its_steps() {
        let old = config(ScheduleName::Constant, 400);
        let mut longer = config(ScheduleName::Constant, 4000);
        assert!(matches!(
            between(&old, &longer, 4).unwrap(),
            Change::Rate(..)
        ));
        keep_warmup(&old, &mut longer).unwrap();
        assert_eq!(longer.optim.warmup_steps, Some(4));
        assert!(matches!(
            between(&old, &longer, 400).unwrap(),
            Change::Later(_)
        ));
        // Not where the user gives another one, and not where it is the same.
        let mut given = config(ScheduleName::Constant, 4000);
        given.optim.warmup_steps = Some(9);
        keep_warmup(&old, &mut given).unwrap();
        assert_eq!(given.optim.warmup_steps, Some(9));
        let mut near = config(ScheduleName::Constant, 410);
        keep_warmup(&old, &mut near).unwrap();
        assert_eq!(near.optim.warmup_steps, None);
    }

    #[test]
    fn every_key_of_budget_and_rate_exists() {
        let keys = crate::config::keys(&Registry::default());
        for name in BUDGET.into_iter().chain(RATE) {
            assert!(keys.iter().any(|key| key.path == name), "{name}");
        }
    }
}
