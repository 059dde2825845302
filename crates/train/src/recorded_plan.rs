//! `plan.toml`: every decision of a run's model, from which the run is read back whatever program reads it.

use std::path::Path;

use evenburn_model::Plan;

use crate::Registry;

use crate::config::RunConfig;
use crate::error::TrainError;
use crate::hash;
use crate::launch::Start;
use crate::run_dir::{self, PLAN};

/// A plan with its text, which checkpoints know by its hash.
#[derive(Debug, Clone)]
pub(crate) struct RecordedPlan {
    pub(crate) plan: Plan,
    pub(crate) text: String,
}

impl RecordedPlan {
    /// As it will be recorded.
    pub(crate) fn new(plan: Plan) -> Result<Self, TrainError> {
        let text = text(&plan)?;
        Ok(Self { plan, text })
    }

    /// As a run, or a model without training state, has recorded it.
    pub(crate) fn read(registry: &Registry, run: &Path) -> Result<Self, TrainError> {
        let text = run_dir::plan_of(run)?;
        let plan = Self::parse(registry, &run.join(PLAN), &text)?;
        Ok(Self { plan, text })
    }

    /// The plan in the text of a file.
    pub(crate) fn parse(registry: &Registry, file: &Path, text: &str) -> Result<Plan, TrainError> {
        let mut plan: Plan = toml::from_str(text).map_err(|e| TrainError::Damaged {
            file: file.to_owned(),
            why: e.to_string(),
            intact: None,
        })?;
        registry.model.resolve(&mut plan)?;
        plan.validate()?;
        Ok(plan)
    }

    /// The plan with which a launch begins or goes on.
    pub(crate) fn at(
        registry: &Registry,
        start: &Start,
        config: &RunConfig,
    ) -> Result<Self, TrainError> {
        match start.run() {
            None => Self::new(config.norm.plan(&config.model)?),
            Some(run) => Self::read(registry, run),
        }
    }

    /// BLAKE3 of the text.
    pub(crate) fn hash(&self) -> String {
        hash::of_text(&self.text)
    }

    /// Checks that a checkpoint at `path` was made with it.
    pub(crate) fn check(&self, path: &Path, hash: &str) -> Result<(), TrainError> {
        if self.hash() == hash {
            return Ok(());
        }
        Err(TrainError::Foreign {
            path: path.to_owned(),
            what: "plan",
            why: format!("it was made with another {PLAN} than the one that is there now"),
        })
    }

    /// Checks that the configuration a run goes on with still makes its plan: as decisions, whatever their text was and
    /// whichever options led to them. A scheme that this program doesn't know makes none.
    pub(crate) fn check_made_by(&self, run: &Path, config: &RunConfig) -> Result<(), TrainError> {
        if !config.norm.is_known() {
            return same(run, "scheme", &self.plan.scheme, config.norm.name());
        }
        let without_options = |plan: &Plan| {
            let mut plan = plan.clone();
            plan.options.clear();
            text(&plan)
        };
        let now = without_options(&config.norm.plan(&config.model)?)?;
        same(run, "plan", &without_options(&self.plan)?, &now)
    }
}

fn text(plan: &Plan) -> Result<String, TrainError> {
    toml::to_string_pretty(plan).map_err(|e| TrainError::Unwritable {
        what: "the plan",
        why: e.to_string(),
    })
}

/// Texts that must be equal; the first line that isn't is named.
pub(crate) fn same(
    path: &Path,
    what: &'static str,
    recorded: &str,
    now: &str,
) -> Result<(), TrainError> {
    if recorded == now {
        return Ok(());
    }
    let pairs = recorded.lines().zip(now.lines()).enumerate();
    let why = pairs.into_iter().find(|(_, (a, b))| a != b).map_or_else(
        || "one is longer than the other".to_owned(),
        |(n, (a, b))| format!("line {} was `{a}` and is now `{b}`", n + 1),
    );
    Err(TrainError::Foreign {
        path: path.to_owned(),
        what,
        why,
    })
}
