//! The validation entries of a run.

use burn::module::Module;

use super::{After, Evaluation, ValidationEntry, ValidationSplit};
use crate::data_parallel::Ranks;
use crate::error::TrainError;
use crate::metrics::{MetricSpec, Names, Record};
use crate::task::Task;

/// Entries, in the order of their values, and what they read.
pub(crate) struct Entries {
    pub(crate) all: Vec<Box<dyn ValidationEntry>>,
    pub(crate) split: ValidationSplit,
}

impl Entries {
    /// The name and the metrics of each.
    pub(crate) fn specs(&self) -> impl Iterator<Item = (&str, &[MetricSpec])> {
        let all = self.all.iter();
        all.map(|entry| (entry.name(), entry.specs()))
    }

    /// What is due after a step.
    pub(crate) fn run(
        &mut self,
        task: &Task,
        ranks: &mut Ranks,
        after: &After,
    ) -> Result<Record, TrainError> {
        let mut record = Record::new(after.step);
        let mut due = self.all.iter_mut().filter(|entry| entry.is_due(after));
        let Some(first) = due.next() else {
            return Ok(record);
        };
        // Without gradients; its weights are shared, not copied.
        let task = task.valid();
        let mut on = Evaluation {
            task: &task,
            split: &self.split,
            ranks,
        };
        let mut names = Names::default();
        for entry in std::iter::once(first).chain(due) {
            entry
                .run(&mut on, &mut record)
                .and_then(|()| names.check(&record, entry.specs()))
                .map_err(|e| TrainError::monitor(entry.name(), after.step, e))?;
        }
        Ok(record)
    }
}
