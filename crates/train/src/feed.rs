//! The training batches of a run, from the data crate's stream.

use evenburn_data::{Batch, Cursor, DataError, NetworkTraffic, Stream, TrainingData};

use crate::error::TrainError;

/// The training stream of a run, cut into micro-batches.
#[derive(Debug)]
pub(crate) struct Feed {
    train: Stream,
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
        let train = data.stream(context, seed)?;
        Ok(Self { train, batch_size })
    }

    /// The next micro-batch.
    pub(crate) fn next(&mut self) -> Result<Batch, DataError> {
        self.train.next_batch(self.batch_size)
    }

    /// Continues at a cursor.
    pub(crate) fn seek(&mut self, cursor: Cursor) -> Result<(), DataError> {
        self.train.seek(cursor)
    }

    /// What went over the network for it, where something can.
    pub(crate) fn traffic(&self) -> Option<NetworkTraffic> {
        self.train.traffic()
    }

    /// What the user should know of the stream since the last call.
    pub(crate) fn news(&mut self) -> Vec<String> {
        self.train.news()
    }

    /// The sample after the last one that was read.
    pub(crate) fn cursor(&self) -> Cursor {
        self.train.cursor()
    }
}
