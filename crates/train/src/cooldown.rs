//! A decay of the rate that is asked for while a run is under way, or after it ended.
//!
//! The request is a file in the run directory. The run that finds it writes the step it began at into it: from then on
//! the decay is part of the run, and a run that was killed and resumed goes down the same way.

use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use evenburn_optim::{Cooldown, Descent};
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::error::TrainError;
use crate::frozen::Frozen;
use crate::{durable, run_dir};

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
/// [`TrainError::NotARun`] or [`TrainError::Frozen`] for a folder that can't be trained, [`TrainError::Invalid`] where
/// a decay has begun already, [`TrainError::Io`] where the request can't be written.
pub fn request(run: &Path, steps: NonZeroU64, descent: Option<Descent>) -> Result<(), TrainError> {
    run_dir::require_run(run)?;
    if let Some(frozen) = Frozen::read(run)? {
        let path = run.to_owned();
        return Err(TrainError::Frozen { path, frozen });
    }
    if let Some(Request {
        start: Some(start), ..
    }) = read(run)?
    {
        let why = format!("{} decays since step {start}", run.display());
        return Err(TrainError::invalid("cooldown", why));
    }
    let recorded = || {
        let recorded = run_dir::config_of(run);
        let config = RunConfig::load(Some(&recorded), &[])?.config;
        Ok::<_, TrainError>(config.optim.decay_shape)
    };
    let descent = descent.map_or_else(recorded, Ok)?;
    let request = Request {
        steps: steps.get(),
        descent,
        start: None,
    };
    write(run, &request)
}

/// The decay of a run that has taken `step` steps: one that began earlier, or one that begins now.
pub(crate) fn of_run(run: &Path, step: u64) -> Result<Option<Cooldown>, TrainError> {
    let Some(request) = read(run)? else {
        return Ok(None);
    };
    if request.start.is_none() {
        let begun = Request {
            start: Some(step),
            ..request
        };
        write(run, &begun)?;
    }
    Ok(Some(Cooldown {
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
    durable::replace(&file(run), &json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_begins_once() {
        let run = tempfile::tempdir().unwrap();
        let steps = NonZeroU64::new(4).unwrap();
        let refused = request(run.path(), steps, None).unwrap_err();
        assert!(matches!(refused, TrainError::NotARun { .. }));

        fs::write(
            run_dir::config_of(run.path()),
            "[optim]\ndecay_shape = \"cosine\"\n",
        )
        .unwrap();
        assert_eq!(of_run(run.path(), 3).unwrap(), None);
        request(run.path(), NonZeroU64::MIN, Some(Descent::Linear)).unwrap();
        // Nobody has begun: the later request counts.
        request(run.path(), steps, None).unwrap();
        let begun = Cooldown {
            start: 7,
            steps: 4,
            descent: Descent::Cosine,
        };
        assert_eq!(of_run(run.path(), 7).unwrap(), Some(begun));
        // Also when the run goes on from an earlier checkpoint.
        assert_eq!(of_run(run.path(), 5).unwrap(), Some(begun));
        let refused = request(run.path(), steps, None).unwrap_err();
        assert!(
            refused.to_string().contains("decays since step 7"),
            "{refused}"
        );

        fs::write(file(run.path()), "{").unwrap();
        assert!(of_run(run.path(), 7).is_err());
    }
}
