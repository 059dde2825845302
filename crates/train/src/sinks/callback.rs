//! A program's own function that is given every record.

use std::ops::ControlFlow;

use super::Sink;
use crate::error::TrainError;
use crate::metrics::Record;

/// What [`Trainer::on_step`](crate::Trainer::on_step) was given.
pub(crate) type OnStep = Box<dyn FnMut(&Record) -> ControlFlow<()> + Send>;

/// Calls it, and remembers whether it wants the run to end.
pub(crate) struct Callback {
    call: OnStep,
    stop: bool,
}

impl Callback {
    pub(crate) fn new(call: OnStep) -> Self {
        Self { call, stop: false }
    }
}

impl Sink for Callback {
    fn record(&mut self, record: &Record, _: u64) -> Result<(), TrainError> {
        self.stop |= (self.call)(record).is_break();
        Ok(())
    }

    fn asks_to_stop(&self) -> bool {
        self.stop
    }
}
