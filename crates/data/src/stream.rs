//! The endless, shuffled, resumable stream of training samples.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::order::{ShardOrder, sample_order};
use crate::window::{NetworkTraffic, PackedText, Place, Window, Windows, sample, samples_in};
use crate::{DataError, PackedStore};

/// Where a stream stands: the next sample that the ranks together will read.
///
/// It belongs to no rank, so a stream on another number of ranks can go on from it. Equal places have equal cursors: one
/// never stands behind the last sample of a window that was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Position in the epoch's order of shards.
    pub shard: usize,
    /// Window of that shard. Cursors of before there were windows lack it.
    #[serde(default)]
    pub window: usize,
    /// Position in that window's order of samples.
    pub sample: u64,
}

impl Cursor {
    fn place(self) -> Place {
        Place {
            epoch: self.epoch,
            position: self.shard,
            window: self.window,
        }
    }

    fn at(place: Place) -> Self {
        Self {
            epoch: place.epoch,
            shard: place.position,
            window: place.window,
            sample: 0,
        }
    }
}

/// Batches of training samples without end, epoch after epoch.
///
/// The sequence of samples is a pure function of the text, the context and the seed: the shards of an epoch in a seeded
/// order, the windows of a shard as they lie in its files, the samples of a window in a seeded order. With several
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
/// let mut resumed = Stream::new(corpus.train.clone(), 16, 42).unwrap();
/// resumed.seek(cursor).unwrap();
/// assert_eq!(resumed.next_batch(4).unwrap(), next);
///
/// let mut skipping = Stream::new(corpus.train, 16, 42).unwrap();
/// skipping.skip(4).unwrap();
/// assert_eq!(skipping.next_batch(4).unwrap(), next);
/// ```
#[derive(Debug)]
pub struct Stream {
    windows: Box<dyn Windows>,
    context: usize,
    seed: u64,
    rank: usize,
    world: usize,
    cursor: Cursor,
    /// What the cursor last needed; it follows from it.
    order: ShardOrder,
    open: Option<Open>,
}

/// A window and the order of its samples.
#[derive(Debug)]
struct Open {
    place: Place,
    window: Window,
    order: Vec<u32>,
}

impl Open {
    fn samples(&self) -> u64 {
        self.order.len() as u64
    }
}

impl Stream {
    /// A stream of a store at the start of epoch 0, with context `T`.
    ///
    /// # Errors
    /// As [`PackedStore::require`]: the store has no sample of this context.
    pub fn new(store: PackedStore, context: usize, seed: u64) -> Result<Self, DataError> {
        store.require(context)?;
        Self::over(Box::new(store), context, seed)
    }

    /// A stream of windows at the start of epoch 0.
    pub(crate) fn over(
        windows: Box<dyn Windows>,
        context: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        if context == 0 {
            return Err(DataError::config(
                "model.context",
                "is 0, must be at least 1",
            ));
        }
        if windows.shards() == 0 {
            return Err(no_training_document());
        }
        Ok(Self {
            order: ShardOrder::new(seed, windows.shards()),
            windows,
            context,
            seed,
            rank: 0,
            world: 1,
            cursor: Cursor::default(),
            open: None,
        })
    }

    /// This stream's part for one of `world` ranks.
    ///
    /// # Errors
    /// [`DataError::Config`] if `rank` isn't below `world`.
    pub fn for_rank(mut self, rank: usize, world: usize) -> Result<Self, DataError> {
        check_rank(rank, world)?;
        self.rank = rank;
        self.world = world;
        Ok(self)
    }

    /// Where the ranks together stand.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Goes on from a cursor, taken with the same text, context and seed on any number of ranks.
    ///
    /// # Errors
    /// [`DataError::Cursor`] if it points outside the text, and whatever goes wrong where its window has to be read first;
    /// the stream then stays where it was.
    pub fn seek(&mut self, cursor: Cursor) -> Result<(), DataError> {
        let outside = |message: String| DataError::Cursor {
            epoch: cursor.epoch,
            shard: cursor.shard,
            window: cursor.window,
            sample: cursor.sample,
            message,
        };
        let shards = self.windows.shards();
        if cursor.shard >= shards {
            return Err(outside(format!("there are {shards} shards")));
        }
        let samples = match self.open(cursor.place())? {
            Some(open) => open.samples(),
            None if cursor.window == 0 => 0,
            None => return Err(outside("that shard has fewer windows".into())),
        };
        if cursor.sample > samples {
            return Err(outside(format!(
                "that window has {samples} samples of context {}",
                self.context
            )));
        }
        self.cursor = cursor;
        Ok(())
    }

    /// The next `n` samples of this rank.
    ///
    /// # Errors
    /// [`DataError::Damaged`] if a file can't be read or holds ids outside the vocabulary, and whatever goes wrong where
    /// text is read while the stream runs; the cursor then stays where it was.
    pub fn next_batch(&mut self, n: usize) -> Result<Batch, DataError> {
        let before = self.cursor;
        let batch = self.read_batch(n);
        if batch.is_err() {
            self.cursor = before;
        }
        batch
    }

    /// Moves past the next `n` samples of this rank, as [`next_batch`](Self::next_batch) does, without reading them.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub fn skip(&mut self, n: u64) -> Result<(), DataError> {
        let before = self.cursor;
        let skipped = self.pass_all(n.saturating_mul(self.world as u64));
        if skipped.is_err() {
            self.cursor = before;
        }
        skipped
    }

    /// What went over the network so far, where the stream reads files that lie elsewhere.
    pub fn traffic(&self) -> Option<NetworkTraffic> {
        self.windows.traffic()
    }

    /// What the user should know that has come to light since the last call, in sentences.
    pub fn news(&mut self) -> Vec<String> {
        self.windows.news()
    }

    fn read_batch(&mut self, n: usize) -> Result<Batch, DataError> {
        let boundaries = self.windows.boundaries();
        let mut batch = Batch::new(self.context);
        for position in 0..n * self.world {
            let (text, index) = self.advance()?;
            if position % self.world == self.rank {
                batch.push(&sample(&*text, index, self.context)?, boundaries);
            }
        }
        Ok(batch)
    }

    /// The sample at the cursor (its text and its index there), which moves past it.
    fn advance(&mut self) -> Result<(Arc<dyn PackedText>, u64), DataError> {
        let at = self.cursor_at_sample()?.sample;
        let Some(open) = &self.open else {
            return Err(no_training_document());
        };
        let found = (
            Arc::clone(&open.window.text),
            u64::from(open.order[at as usize]),
        );
        self.pass(1);
        Ok(found)
    }

    fn pass_all(&mut self, samples: u64) -> Result<(), DataError> {
        let mut left = samples;
        while left > 0 {
            let at = self.cursor_at_sample()?.sample;
            let here = self.open.as_ref().map_or(0, Open::samples) - at;
            self.pass(here.min(left));
            left -= here.min(left);
        }
        Ok(())
    }

    /// Moves past samples of the open window. Past the last one means the next window, so that equal places have equal cursors.
    fn pass(&mut self, samples: u64) {
        self.cursor.sample += samples;
        if let Some(open) = &self.open
            && self.cursor.sample >= open.samples()
        {
            let next = open
                .place
                .behind(open.window.is_last, self.windows.shards());
            self.cursor = Cursor::at(next);
        }
    }

    /// Moves the cursor to where there is a sample, over windows and shards without one, and opens its window.
    fn cursor_at_sample(&mut self) -> Result<Cursor, DataError> {
        let shards = self.windows.shards();
        let mut passed = 0;
        loop {
            let (place, at) = (self.cursor.place(), self.cursor.sample);
            let next = match self.open(place)? {
                Some(open) if at < open.samples() => return Ok(self.cursor),
                Some(open) => place.behind(open.window.is_last, shards),
                None => place.next_shard(shards),
            };
            passed += usize::from(next.window == 0);
            // So many shards in a row are all of some epoch.
            if passed >= 2 * shards {
                return Err(self.no_sample());
            }
            self.cursor = Cursor::at(next);
        }
    }

    /// The window at a place; nothing behind the last one of its shard.
    fn open(&mut self, place: Place) -> Result<Option<&Open>, DataError> {
        if self.open.as_ref().is_none_or(|open| open.place != place) {
            // The window of before isn't kept in memory while the next one is waited for.
            self.open = None;
            let shard = self.order.shard(place.epoch, place.position);
            if let Some(window) = self.windows.window(place, shard)? {
                let samples = samples_in(window.text.tokens(), self.context);
                self.open = Some(Open {
                    order: sample_order(self.seed, place.epoch, shard, place.window, samples),
                    place,
                    window,
                });
            }
        }
        Ok(self.open.as_ref())
    }

    fn no_sample(&self) -> DataError {
        DataError::config(
            "data.path",
            format!(
                "no window of its {} shards has training text for one sample, which takes {} tokens; give more text, or \
                 lower model.context",
                self.windows.shards(),
                self.context + 1
            ),
        )
    }
}

/// Whether a rank is one of so many.
pub(crate) fn check_rank(rank: usize, world: usize) -> Result<(), DataError> {
    if rank < world {
        return Ok(());
    }
    let why = format!("is {rank}, must be below the {world} ranks");
    Err(DataError::config("rank", why))
}

fn no_training_document() -> DataError {
    DataError::config("data.path", "holds no training document")
}
