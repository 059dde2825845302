//! The endless, shuffled, resumable stream of training samples.

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::order::{sample_order, shard_order};
use crate::{DataError, PackedStore};

/// Where a stream stands: the next sample that the ranks together will read.
///
/// It belongs to no rank, so a stream on another number of ranks can go on from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Position in the epoch's order of shards.
    pub shard: usize,
    /// Position in that shard's order of samples.
    pub sample: u64,
}

/// Batches of training samples without end, epoch after epoch.
///
/// The sequence of samples is a pure function of the store, the context and the seed. With several
/// ranks, each takes every `world`-th sample of that one sequence: a batch of `n` moves the shared
/// cursor by `n * world`, and the ranks' samples interleaved (the first of rank 0, the first of rank
/// 1, …) are the sequence that one rank would read.
///
/// ```
/// # use evenburn_data::{DataConfig, Stream, prepare};
/// # let dir = tempfile::tempdir().unwrap();
/// # let text = dir.path().join("a.txt");
/// # std::fs::write(&text, "some words of text ".repeat(50)).unwrap();
/// # let config = DataConfig { path: text.to_str().unwrap().into(), validation_fraction: 0.0,
/// #     tokenizer_vocab: 260, ..Default::default() };
/// # let corpus = prepare(&config, &dir.path().join("cache"), &()).unwrap();
/// let mut stream = Stream::new(corpus.train.clone(), 16, 42).unwrap();
/// stream.next_batch(4).unwrap();
/// let cursor = stream.cursor();
/// let next = stream.next_batch(4).unwrap();
///
/// let mut resumed = Stream::new(corpus.train, 16, 42).unwrap();
/// resumed.seek(cursor).unwrap();
/// assert_eq!(resumed.next_batch(4).unwrap(), next);
/// ```
#[derive(Debug, Clone)]
pub struct Stream {
    store: PackedStore,
    context: usize,
    seed: u64,
    rank: usize,
    world: usize,
    cursor: Cursor,
    /// The permutations that the cursor last needed; they follow from it.
    epoch: Option<(u64, Vec<u32>)>,
    shard: Option<(u64, usize, Vec<u32>)>,
}

impl Stream {
    /// A stream at the start of epoch 0, with context `T`.
    ///
    /// # Errors
    /// As [`PackedStore::require`]: the store has no sample of this context.
    pub fn new(store: PackedStore, context: usize, seed: u64) -> Result<Self, DataError> {
        store.require(context)?;
        Ok(Self {
            store,
            context,
            seed,
            rank: 0,
            world: 1,
            cursor: Cursor::default(),
            epoch: None,
            shard: None,
        })
    }

    /// This stream's part for one of `world` ranks.
    ///
    /// # Errors
    /// [`DataError::Config`] if `rank` isn't below `world`.
    pub fn for_rank(mut self, rank: usize, world: usize) -> Result<Self, DataError> {
        if rank >= world {
            return Err(DataError::config(
                "rank",
                format!("is {rank}, must be below the {world} ranks"),
            ));
        }
        self.rank = rank;
        self.world = world;
        Ok(self)
    }

    /// Where the ranks together stand.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes on from a cursor, taken with the same store, context and seed on any number of ranks.
    ///
    /// # Errors
    /// [`DataError::Cursor`] if it points outside the store; the stream then stays where it was.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), DataError> {
        let outside = |message: String| DataError::Cursor {
            epoch: cursor.epoch,
            shard: cursor.shard,
            sample: cursor.sample,
            message,
        };
        let shards = self.store.shards();
        if cursor.shard >= shards {
            return Err(outside(format!("there are {shards} shards")));
        }
        let order = shard_order(self.seed, cursor.epoch, shards);
        let samples = self
            .store
            .samples_in(order[cursor.shard] as usize, self.context);
        if cursor.sample > samples {
            return Err(outside(format!(
                "that shard has {samples} samples of context {}",
                self.context
            )));
        }
        self.cursor = cursor;
        Ok(())
    }

    /// The next `n` samples of this rank.
    ///
    /// # Errors
    /// [`DataError::Damaged`] if a file can't be read or holds ids outside the vocabulary; the
    /// cursor then stays where it was.
    pub fn next_batch(&mut self, n: usize) -> Result<Batch, DataError> {
        let before = self.cursor;
        let batch = self.read_batch(n);
        if batch.is_err() {
            self.cursor = before;
        }
        batch
    }

    fn read_batch(&mut self, n: usize) -> Result<Batch, DataError> {
        let mut batch = Batch::new(self.context);
        for position in 0..n * self.world {
            let (shard, index) = self.advance();
            if position % self.world == self.rank {
                let sample = self.store.sample(shard, index, self.context)?;
                batch.push(&sample, self.store.boundaries());
            }
        }
        Ok(batch)
    }

    /// The sample at the cursor (shard number and index in stored order), which moves past it.
    fn advance(&mut self) -> (usize, u64) {
        loop {
            let Cursor {
                epoch,
                shard: position,
                sample,
            } = self.cursor;
            let shard = self.shard_at(epoch, position);
            let samples = self.store.samples_in(shard, self.context);
            if sample < samples {
                let index = self.sample_at(epoch, shard, samples, sample);
                self.cursor.sample += 1;
                // Past the last sample means the next shard, so that equal places have equal cursors.
                if self.cursor.sample == samples {
                    self.next_shard();
                }
                return (shard, index);
            }
            self.next_shard();
        }
    }

    fn next_shard(&mut self) {
        self.cursor.sample = 0;
        self.cursor.shard += 1;
        if self.cursor.shard == self.store.shards() {
            self.cursor.shard = 0;
            self.cursor.epoch += 1;
        }
    }

    fn shard_at(&mut self, epoch: u64, position: usize) -> usize {
        let order = match &mut self.epoch {
            Some((of, order)) if *of == epoch => order,
            stale => {
                &mut stale
                    .insert((epoch, shard_order(self.seed, epoch, self.store.shards())))
                    .1
            }
        };
        order[position] as usize
    }

    fn sample_at(&mut self, epoch: u64, shard: usize, samples: u64, position: u64) -> u64 {
        let order = match &mut self.shard {
            Some((of, at, order)) if (*of, *at) == (epoch, shard) => order,
            stale => {
                let order = sample_order(self.seed, epoch, shard, samples);
                &mut stale.insert((epoch, shard, order)).2
            }
        };
        u64::from(order[position as usize])
    }
}
