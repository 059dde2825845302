//! The monitors of a run.

use super::{GradientView, GradientsOf, Monitor, Probes, StepView};
use crate::error::TrainError;
use crate::metrics::{MetricSpec, Names, Record};

/// Monitors, in the order of their values, with what each wants of the step that is under way.
#[derive(Default)]
pub(crate) struct Monitors {
    all: Vec<(Box<dyn Monitor>, Probes)>,
}

impl Monitors {
    pub(crate) fn new(all: Vec<Box<dyn Monitor>>) -> Self {
        let all = all.into_iter();
        Self {
            all: all.map(|monitor| (monitor, Probes::default())).collect(),
        }
    }

    /// The name and the metrics of each.
    pub(crate) fn specs(&self) -> impl Iterator<Item = (&str, &[MetricSpec])> {
        let all = self.all.iter();
        all.map(|(monitor, _)| (monitor.name(), monitor.specs()))
    }

    /// Asks what they want to see of a step: whatever any of them does.
    pub(crate) fn ask(&mut self, step: u64) -> Probes {
        for (monitor, wanted) in &mut self.all {
            *wanted = monitor.wants(step);
        }
        let wanted = self.all.iter().map(|(_, wanted)| *wanted);
        wanted.fold(Probes::default(), Probes::or)
    }

    /// Shows gradients to those who asked for them.
    pub(crate) fn on_gradients(&mut self, view: &GradientView<'_>) -> Result<(), TrainError> {
        for (monitor, wanted) in &mut self.all {
            let wanted = match view.of {
                GradientsOf::MicroBatch(_) => wanted.micro_batch_gradients,
                GradientsOf::Step => wanted.gradients,
            };
            if wanted {
                monitor
                    .on_gradients(view)
                    .map_err(|e| TrainError::monitor(monitor.name(), view.step, e))?;
            }
        }
        Ok(())
    }

    /// The record of a step.
    pub(crate) fn after_step(&mut self, view: &StepView<'_>) -> Result<Record, TrainError> {
        let mut record = Record::new(view.step);
        let mut names = Names::given(view.validation);
        for (monitor, wanted) in &mut self.all {
            monitor
                .after_step(&view.only(*wanted), &mut record)
                .and_then(|()| names.check(&record, monitor.specs()))
                .map_err(|e| TrainError::monitor(monitor.name(), view.step, e))?;
        }
        Ok(record)
    }
}
