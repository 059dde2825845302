//! The training batches of a run, from the data crate's samples.

use evenburn_data::{Batch, DataError, NetworkTraffic, Position, TrainingData, TrainingSamples};

use crate::error::TrainError;

/// The training samples of a run, cut into micro-batches.
#[derive(Debug)]
pub(crate) struct Feed {
    train: TrainingSamples,
    batch_size: usize,
}

impl Feed {
    /// The training split in samples of `context` tokens, from its beginning.
    pub(crate) fn open(
        data: &TrainingData,
        context: usize,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let train = data.samples(context, seed)?;
        Ok(Self { train, batch_size })
    }

    /// The next micro-batch.
    pub(crate) fn next(&mut self) -> Result<Batch, DataError> {
        self.train.next_batch(self.batch_size)
    }

    /// Continues at a position.
    pub(crate) fn seek(&mut self, position: &Position) -> Result<(), DataError> {
        self.train.seek(position)
    }

    /// What went over the network for it, where something can.
    pub(crate) fn traffic(&self) -> Option<NetworkTraffic> {
        self.train.traffic()
    }

    /// What the user should know of them since the last call.
    pub(crate) fn news(&mut self) -> Vec<String> {
        self.train.news()
    }

    /// The sample after the last one that was read.
    pub(crate) fn position(&self) -> Position {
        self.train.position()
    }
}
