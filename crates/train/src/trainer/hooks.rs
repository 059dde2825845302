//! What a program adds to a run, and what then measures it.

use evenburn_data::TrainingData;

use crate::error::TrainError;
use crate::metrics;
use crate::monitor::{Monitor, Monitors, Setup};
use crate::sinks::OnStep;
use crate::validation::{self, Entries, ValidationEntry, ValidationSplit};

/// What a program adds to a run.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) monitors: Vec<Box<dyn Monitor>>,
    pub(super) entries: Vec<Box<dyn ValidationEntry>>,
    pub(super) on_step: Vec<OnStep>,
}

impl Hooks {
    /// What measures a run: the built-in monitors and validation entries, and the program's own behind them.
    pub(super) fn measured(
        self,
        built_in: Vec<Box<dyn Monitor>>,
        setup: &Setup<'_>,
        data: &TrainingData,
    ) -> Result<Measured, TrainError> {
        let mut all = built_in;
        all.extend(self.monitors);
        let monitors = Monitors::new(all);
        let mut all = validation::built_in();
        all.extend(self.entries);
        let validation = Entries {
            all,
            split: ValidationSplit::open(data, setup.config)?,
        };
        metrics::check_names(monitors.specs().chain(validation.specs()))?;
        Ok(Measured {
            monitors,
            validation,
            on_step: self.on_step,
        })
    }
}

/// What measures a run, and the functions that are called with what was measured.
pub(super) struct Measured {
    pub(super) monitors: Monitors,
    pub(super) validation: Entries,
    pub(super) on_step: Vec<OnStep>,
}
