//! The moving parts of a run where it begins: at its first step, or at its last checkpoint.

use std::path::Path;

use evenburn_data::{DataConfig, TrainingData};
use evenburn_model::{Decoder, weights};
use evenburn_optim::Engine;

use crate::change::{self, Change};
use crate::checkpoint::{Checkpoints, FIRST_FORMAT, FORMAT, Loaded, State};
use crate::config::Resolved;
use crate::data_parallel::OptimizerState;
use crate::error::TrainError;
use crate::feed::Feed;
use crate::launch;
use crate::recorded_plan::{RecordedPlan, same};
use crate::registry::Registry;
use crate::run_dir::{self, RunDir};

/// What a checkpoint must agree with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identities {
    config: String,
    plan: String,
    corpus: String,
    /// As a checkpoint of the first format has it.
    first_corpus: Option<String>,
}

impl Identities {
    pub(super) fn new(
        resolved: &Resolved,
        recorded: &RecordedPlan,
        data: &TrainingData,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            config: launch::identity(&resolved.config)?,
            plan: recorded.hash(),
            corpus: data.identity(),
            first_corpus: data.first_identity(),
        })
    }

    /// The corpus stays the same whatever a run goes on with. `places` says where it lay, and lies now, where that differs.
    fn check_corpus(
        &self,
        path: &Path,
        state: &State,
        places: impl FnOnce() -> String,
    ) -> Result<(), TrainError> {
        let corpus = match state.format {
            FIRST_FORMAT => self.first_corpus.as_ref(),
            _ => Some(&self.corpus),
        };
        if Some(&state.corpus) == corpus {
            return Ok(());
        }
        Err(TrainError::Foreign {
            path: path.to_owned(),
            what: "corpus",
            why: format!(
                "its tokens are others: the text, its order (files go by their names), its splits, the tokenizer or \
                 data.prepare differ{}",
                places()
            ),
        })
    }
}

/// A checkpoint checked against the run that goes on from it.
pub(super) struct Restore<'t> {
    pub(super) registry: &'t Registry,
    pub(super) resolved: &'t Resolved,
    pub(super) run: &'t RunDir,
    pub(super) recorded: &'t RecordedPlan,
    pub(super) identities: Identities,
}

/// What changes from step to step.
pub(super) struct TrainingState {
    pub(super) decoder: Decoder,
    pub(super) engine: Engine,
    pub(super) feed: Feed,
}

impl Restore<'_> {
    /// Brings what was made for the first step to the last checkpoint, where there is one; the optimizer's state is given beside it, for
    /// whoever has it: several ranks share it out.
    pub(super) fn at_newest(
        self,
        mut training: TrainingState,
        checkpoints: &Checkpoints,
    ) -> Result<(TrainingState, OptimizerState, State), TrainError> {
        let Some(path) = checkpoints.newest()? else {
            let state = State {
                format: FORMAT,
                step: 0,
                tokens: 0,
                seed: self.resolved.config.train.seed,
                cursor: training.feed.position(),
                optim: training.engine.counts(),
                metrics_bytes: 0,
                config: self.identities.config,
                plan: self.identities.plan,
                corpus: self.identities.corpus,
            };
            return Ok((training, OptimizerState::default(), state));
        };
        let loaded = Loaded::read(&path)?;
        self.recorded.check(&path, &loaded.state.plan)?;
        self.identities
            .check_corpus(&path, &loaded.state, || self.places())?;
        let keeps_state = self.keeps_state(&path, &loaded.state)?;
        training.decoder = weights::replace(training.decoder, loaded.model)?;
        let saved = if keeps_state {
            OptimizerState {
                counts: loaded.state.optim.clone(),
                tensors: loaded.optim,
            }
        } else {
            OptimizerState::default()
        };
        training.feed.seek(&loaded.state.cursor)?;
        // Under other settings, it is theirs from here on.
        let state = State {
            format: FORMAT,
            config: self.identities.config,
            corpus: self.identities.corpus,
            ..loaded.state
        };
        Ok((training, saved, state))
    }

    /// Where the run had its text from and where it is now, as the end of a sentence.
    fn places(&self) -> String {
        let Ok(recorded) = run_dir::config(self.registry, self.run.path()) else {
            return String::new();
        };
        let (before, now) = (&recorded.data, &self.resolved.config.data);
        let of = |data: &DataConfig| {
            let lists = [Some(&data.path), data.validation_path.as_ref()];
            let entries = lists.into_iter().flatten().flat_map(|list| &list.0);
            entries.cloned().collect::<Vec<_>>().join(", ")
        };
        match (of(before), of(now)) {
            (before, now) if before == now => String::new(),
            (before, now) => format!("; the run has read {before}, and this is {now}"),
        }
    }

    /// Whether the optimizer goes on with the state of a checkpoint: unless settings of its own have changed since the
    /// checkpoint was made, which was allowed when they did.
    fn keeps_state(&self, path: &Path, state: &State) -> Result<bool, TrainError> {
        if state.config == self.identities.config {
            return Ok(true);
        }
        let made_with = run_dir::config_at(self.registry, self.run.path(), state.step)?;
        // A checkpoint of an earlier format has a hash of other keys, and so has one of a run that set options of other recipes: it
        // was made with what is recorded.
        let earlier = state.format < FORMAT
            || run_dir::sets_other_recipes(self.registry, self.run.path(), state.step)?;
        if earlier || launch::identity(&made_with)? == state.config {
            let now = &self.resolved.config;
            match change::between(&made_with, now, state.step)? {
                Change::Nothing | Change::Later(_) => return Ok(true),
                Change::Rate(..) | Change::Optimizer(_) => return Ok(false),
                Change::Other(_) => {}
            }
        }
        same(
            path,
            "configuration",
            &state.config,
            &self.identities.config,
        )
        .map(|()| true)
    }
}
