//! A decay of the rate that is asked for while a run is under way, or after it ended.
//!
//! The request is a file in the run directory. The run that finds it writes the step it began at into it: from then on
//! the decay is part of the run, and a run that was killed and resumed goes down the same way.

use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use crate::Registry;
use evenburn_optim::{Cooldown, Descent, Schedule};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::run_dir::CHECKPOINTS;
use crate::weights_only::ModelOrigin;
use crate::{checkpoint, durable, launch, run_dir};

const FILE: &str = "cooldown.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    steps: u64,
    descent: Descent,
    /// Steps the run had taken when it found the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
}

/// Asks a run to decay its rate over `steps` steps from now on, and to end with them. A run that trains begins with
/// its next step, any other once it is resumed. `descent` is the way down, `optim.decay_shape` of the run without it.
///
/// # Errors
/// [`TrainError::NotARun`] or [`TrainError::WeightsOnly`] for a folder that can't be trained, [`TrainError::Invalid`] where
/// a decay has begun already and where the rate has come down as far as it goes, [`TrainError::Io`] where the request can't
/// be written.
pub fn request(
    registry: &Registry,
    run: &Path,
    steps: NonZeroU64,
    descent: Option<Descent>,
) -> Result<(), TrainError> {
    run_dir::require_run(run)?;
    if let Some(origin) = ModelOrigin::read(run)? {
        let path = run.to_owned();
        return Err(TrainError::WeightsOnly { path, origin });
    }
    if let Some(Request {
        start: Some(start), ..
    }) = read(run)?
    {
        let why = format!("{} decays since step {start}", run.display());
        return Err(TrainError::invalid("cooldown", why));
    }
    let config = run_dir::config(registry, run)?;
    if let Some(placed) = launch::scheduled(&config) {
        let why = format!(
            "`{}` changes over the length of the run: a cool-down would end it half-way",
            placed.function.name()
        );
        return Err(TrainError::invalid("model.function.name", why));
    }
    let total = config.train.total_steps(config.model.context)?;
    let newest = checkpoint::newest(&run.join(CHECKPOINTS))?;
    let step = newest.as_deref().and_then(checkpoint::step_at).unwrap_or(0);
    check_rate(run, &config.optim.schedule(), step, total)?;
    let request = Request {
        steps: steps.get(),
        descent: descent.unwrap_or(config.optim.decay_shape),
        start: None,
    };
    write(run, &request)
}

/// Whether the rate of a run that has taken `step` steps can come down: it is above where it ends, or still rises.
fn check_rate(run: &Path, schedule: &Schedule, step: u64, total: u64) -> Result<(), TrainError> {
    let part = |step| schedule.factor(step, total);
    let bottom = schedule.final_fraction;
    if part(step) > bottom || step < schedule.warmup.steps(total) {
        return Ok(());
    }
    // The highest rate that can still be gone back to, and the latest of these.
    let highest = checkpoint::all(&run.join(CHECKPOINTS))?
        .into_iter()
        .filter_map(|path| Some((checkpoint::step_at(&path)?, path)))
        .filter(|(step, _)| part(*step) > bottom)
        .max_by(|(a, _), (b, _)| part(*a).total_cmp(&part(*b)).then(a.cmp(b)));
    let way_out = match highest {
        Some((step, path)) => format!(
            "{} is from a rate of {:.3} of the peak: `train --resume {} --run-dir NEW --train.stop_after {step}` makes a run \
            of it, and `cooldown NEW` begins there",
            path.display(),
            part(step),
            path.display()
        ),
        None => "no checkpoint from a higher rate is left".to_owned(),
    };
    let why = format!(
        "{} has come down to {bottom} of its peak rate, where it ends; {way_out}",
        run.display()
    );
    Err(TrainError::invalid("cooldown", why))
}

/// The step at which the decay of a run began, if one has.
pub(crate) fn begun(run: &Path) -> Result<Option<u64>, TrainError> {
    Ok(read(run)?.and_then(|request| request.start))
}

/// Copies a decay that began before `step` to a run that branches off there.
pub(crate) fn carry(run: &Path, to: &Path, step: u64) -> Result<(), TrainError> {
    match read(run)? {
        Some(request) if request.start.is_some_and(|start| start < step) => write(to, &request),
        _ => Ok(()),
    }
}

/// What a run finds of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// None.
    Nothing,
    /// A decay that began earlier, or that begins now.
    Decay(Cooldown),
    /// One that came too late, which is removed; the reason.
    TooLate(String),
}

/// The decay of a run that has taken `step` of `total` steps.
pub(crate) fn of_run(
    run: &Path,
    schedule: &Schedule,
    step: u64,
    total: u64,
) -> Result<Found, TrainError> {
    let Some(request) = read(run)? else {
        return Ok(Found::Nothing);
    };
    if request.start.is_none() {
        if let Err(late) = check_rate(run, schedule, step, total) {
            let path = file(run);
            fs::remove_file(&path).map_err(|e| TrainError::io("remove", &path, e))?;
            return Ok(Found::TooLate(late.to_string()));
        }
        let begun = Request {
            start: Some(step),
            ..request
        };
        write(run, &begun)?;
    }
    Ok(Found::Decay(Cooldown {
        start: request.start.unwrap_or(step),
        steps: request.steps,
        descent: request.descent,
    }))
}

fn file(run: &Path) -> PathBuf {
    run.join(FILE)
}

fn read(run: &Path) -> Result<Option<Request>, TrainError> {
    let path = file(run);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(TrainError::io("read", &path, e)),
    };
    let request = serde_json::from_str(&text).map_err(|e| {
        let why = format!("{} is no request to decay: {e}", path.display());
        TrainError::invalid("cooldown", why)
    })?;
    Ok(Some(request))
}

fn write(run: &Path, request: &Request) -> Result<(), TrainError> {
    let json = serde_json::to_vec_pretty(request).map_err(|e| TrainError::Unwritable {
        what: "the request to decay",
        why: e.to_string(),
    })?;
    Ok(durable::replace(&file(run), &json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(config: &str, steps: &[u64]) -> tempfile::TempDir {
        let run = tempfile::tempdir().unwrap();
        fs::write(run_dir::config_of(run.path()), config).unwrap();
        for step in steps {
            let checkpoint = run.path().join(format!("{CHECKPOINTS}/step-{step:08}"));
            fs::create_dir_all(checkpoint).unwrap();
        }
        run
    }

    #[test]
    fn a_request_begins_once() {
        let nothing = tempfile::tempdir().unwrap();
        let steps = NonZeroU64::new(4).unwrap();
        let refused = request(&Registry::default(), nothing.path(), steps, None).unwrap_err();
        assert!(matches!(refused, TrainError::NotARun { .. }));

        let run = run(
            "[train]\nsteps = 40\n[optim]\ndecay_shape = \"cosine\"\n",
            &[],
        );
        let schedule = Schedule::default();
        let of_run = |step| of_run(run.path(), &schedule, step, 40);
        assert_eq!(of_run(3).unwrap(), Found::Nothing);
        request(
            &Registry::default(),
            run.path(),
            NonZeroU64::MIN,
            Some(Descent::Linear),
        )
        .unwrap();
        // Nobody has begun: the later request counts.
        request(&Registry::default(), run.path(), steps, None).unwrap();
        let decay = Cooldown {
            start: 7,
            steps: 4,
            descent: Descent::Cosine,
        };
        assert_eq!(of_run(7).unwrap(), Found::Decay(decay));
        assert_eq!(begun(run.path()).unwrap(), Some(7));
        // Also when the run goes on from an earlier checkpoint.
        assert_eq!(of_run(5).unwrap(), Found::Decay(decay));
        let refused = request(&Registry::default(), run.path(), steps, None).unwrap_err();
        assert!(
            refused.to_string().contains("decays since step 7"),
            "{refused}"
        );
        // A branch takes it along from where it had begun.
        for (step, goes_along) in [(7, false), (8, true)] {
            let branch = tempfile::tempdir().unwrap();
            carry(run.path(), branch.path(), step).unwrap();
            assert_eq!(file(branch.path()).is_file(), goes_along, "{step}");
        }

        fs::write(file(run.path()), "{").unwrap();
        assert!(of_run(7).is_err());
    }

    #[test]
    fn a_rate_that_has_come_down_is_refused_with_the_checkpoint_to_go_back_to() {
        let steps = NonZeroU64::new(4).unwrap();
        // Schedule, checkpoints, and what the error names; nothing where there is something left to decay.
        let cases: [(&str, &[u64], Option<&str>); 10] = [
            ("cosine", &[36, 40], Some("step-00000036")),
            ("linear", &[40], Some("no checkpoint")),
            ("wsd", &[20, 32, 36, 40], Some("step-00000032")),
            (
                "cosine\"\nfinal_fraction = 0.1 #",
                &[38, 40],
                Some("step-00000038"),
            ),
            ("cosine", &[36], None),
            ("constant", &[40], None),
            ("inverse_sqrt", &[40], None),
            ("wsd", &[], None),
            // In the warm-up, the rate is low and rises.
            (
                "cosine\"\nwarmup_steps = 20\nfinal_fraction = 0.1 #",
                &[],
                None,
            ),
            (
                "cosine\"\nwarmup_steps = 20\nfinal_fraction = 0.1 #",
                &[1],
                None,
            ),
        ];
        for (schedule, checkpoints, expected) in cases {
            let toml = format!("[train]\nsteps = 40\n[optim]\nschedule = \"{schedule}\"\n");
            let run = run(&toml, checkpoints);
            let found = request(&Registry::default(), run.path(), steps, None);
            match expected {
                None => found.unwrap(),
                Some(part) => {
                    let message = found.unwrap_err().to_string();
                    assert!(message.contains(part), "{schedule}: {message}");
                    assert!(!file(run.path()).exists());
                }
            }
        }
    }

    /// A run that trains may find a request only when its rate has come down.
    #[test]
    fn a_request_that_comes_too_late_is_removed_and_told() {
        let schedule = Schedule::default();
        let run = run(
            "[train]\nsteps = 40\n[optim]\nschedule = \"linear\"\n",
            &[4],
        );
        request(
            &Registry::default(),
            run.path(),
            NonZeroU64::new(4).unwrap(),
            None,
        )
        .unwrap();
        let Found::TooLate(why) = of_run(run.path(), &schedule, 40, 40).unwrap() else {
            panic!("it began");
        };
        assert!(why.contains("step-00000004"), "{why}");
        assert_eq!(
            of_run(run.path(), &schedule, 40, 40).unwrap(),
            Found::Nothing
        );
    }
}
