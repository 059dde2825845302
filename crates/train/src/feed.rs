//! Batches from a corpus: the one place that knows the data crate's streams.

use evenburn_data::{Batch, Corpus, Cursor, DataError, PackedStore, Split, Stream};

use crate::error::TrainError;

/// The training stream and the validation split of a run.
pub(crate) struct Feed {
    train: Stream,
    validation: PackedStore,
    batch_size: usize,
    context: usize,
}

impl Feed {
    /// Opens both splits at samples of `context` tokens; training starts at the beginning.
    pub(crate) fn open(
        corpus: &Corpus,
        context: usize,
        batch_size: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let train = Stream::new(corpus.store(Split::Train).clone(), context, seed)?;
        let validation = corpus.store(Split::Validation).clone();
        // Asked now: the first evaluation may be hours away.
        validation.require(context)?;
        Ok(Self {
            train,
            validation,
            batch_size,
            context,
        })
    }

    /// The next micro-batch.
    pub(crate) fn next(&mut self) -> Result<Batch, DataError> {
        self.train.next_batch(self.batch_size)
    }

    /// Continues at a cursor.
    pub(crate) fn seek(&mut self, cursor: Cursor) -> Result<(), DataError> {
        self.train.seek(cursor)
    }

    /// The sample after the last one that was read.
    pub(crate) fn cursor(&self) -> Cursor {
        self.train.cursor()
    }

    /// The first `samples` samples of the validation split, in its stored order.
    pub(crate) fn validation(
        &self,
        samples: u64,
    ) -> Result<impl Iterator<Item = Result<Batch, DataError>> + use<>, TrainError> {
        Ok(self
            .validation
            .batches(self.context, self.batch_size, Some(samples))?)
    }
}
