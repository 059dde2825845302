//! Where the records of a run go: files, progress lines, the dashboard, a program's own functions.

mod callback;
mod json_lines;
mod progress;
mod tensorboard;

pub(crate) use callback::{Callback, OnStep};
pub(crate) use json_lines::JsonLines;
pub(crate) use progress::ProgressLines;
pub use progress::{Display, clock};
pub(crate) use tensorboard::EventFile;

use crate::checkpoint::State;
use crate::error::TrainError;
use crate::metrics::Record;

/// Takes the record of every step.
pub(crate) trait Sink {
    /// Before the first step of this launch, which goes on from `step` of `end` steps.
    fn begin(&mut self, _step: u64, _end: u64) -> Result<(), TrainError> {
        Ok(())
    }

    /// What was measured in a step; the run has `end` of them.
    fn record(&mut self, record: &Record, end: u64) -> Result<(), TrainError>;

    /// A line that is no step.
    fn note(&mut self, _text: &str) {}

    /// Before a checkpoint is saved: puts on disk what it has been given, and takes down in the state where that ends.
    fn sync(&mut self, _state: &mut State) -> Result<(), TrainError> {
        Ok(())
    }

    /// After the last step of this launch.
    fn end(&mut self, _step: u64, _end: u64) -> Result<(), TrainError> {
        Ok(())
    }

    /// Whether somebody asked there to end the run after this step, with a checkpoint.
    fn asks_to_stop(&self) -> bool {
        false
    }
}

/// All sinks of a run, told one after the other.
#[derive(Default)]
pub(crate) struct Sinks<'s>(Vec<&'s mut dyn Sink>);

impl<'s> Sinks<'s> {
    pub(crate) fn push(&mut self, sink: &'s mut dyn Sink) {
        self.0.push(sink);
    }

    pub(crate) fn begin(&mut self, step: u64, end: u64) -> Result<(), TrainError> {
        self.0.iter_mut().try_for_each(|sink| sink.begin(step, end))
    }

    pub(crate) fn record(&mut self, record: &Record, end: u64) -> Result<(), TrainError> {
        let mut all = self.0.iter_mut();
        all.try_for_each(|sink| sink.record(record, end))
    }

    /// Says something in the log and to the user.
    pub(crate) fn note(&mut self, text: &str) {
        log::info!("{text}");
        self.0.iter_mut().for_each(|sink| sink.note(text));
    }

    pub(crate) fn sync(&mut self, state: &mut State) -> Result<(), TrainError> {
        self.0.iter_mut().try_for_each(|sink| sink.sync(state))
    }

    /// Everything is saved by now, so what goes wrong here is said in the log and fails nothing.
    pub(crate) fn end(&mut self, step: u64, end: u64) {
        for sink in &mut self.0 {
            if let Err(error) = sink.end(step, end) {
                log::warn!("step {step}: {error}");
            }
        }
    }

    pub(crate) fn asks_to_stop(&self) -> bool {
        self.0.iter().any(|sink| sink.asks_to_stop())
    }
}
