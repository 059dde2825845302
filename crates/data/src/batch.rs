//! What a model is given: `B` samples of `T` positions.

use burn_dataset::{Dataset, DatasetError};

use crate::{DataError, PackedStore};

/// `T + 1` consecutive tokens of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The tokens, `[T + 1]`. The first `T` are inputs, the last `T` their targets.
    pub tokens: Vec<u32>,
    /// UTF-8 bytes of text that each token stands for, `[T + 1]`, where that is known.
    pub bytes: Option<Vec<u32>>,
}

/// A batch of samples, row after row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of samples, `B`.
    pub batch: usize,
    /// Positions per sample, `T`.
    pub time: usize,
    /// Inputs, `[B, T]`.
    pub tokens: Vec<i32>,
    /// The token that follows each input, `[B, T]`; -1 = ignored.
    pub targets: Vec<i32>,
    /// Number of the document that each input belongs to, counted from 0 within its sample,
    /// `[B, T]`. An end-of-document token belongs to the document it ends.
    pub segments: Vec<i32>,
    /// UTF-8 bytes of text that the targets stand for, ignored ones left out; none if that isn't
    /// known of every sample.
    pub bytes: Option<u64>,
}

impl Batch {
    /// An empty batch to push samples of `time` positions onto.
    pub fn new(time: usize) -> Self {
        Self {
            time,
            bytes: Some(0),
            ..Self::default()
        }
    }

    /// Appends a sample of `time + 1` tokens. `eod` is the token that ends documents.
    pub fn push(&mut self, sample: &Sample, eod: u32) {
        self.bytes = self.bytes.filter(|_| sample.bytes.is_some());
        let mut segment = 0;
        for (position, pair) in sample.tokens.windows(2).enumerate() {
            self.tokens.push(pair[0] as i32);
            self.targets.push(pair[1] as i32);
            self.segments.push(segment);
            if let (Some(sum), Some(bytes)) = (&mut self.bytes, &sample.bytes) {
                *sum += bytes.get(position + 1).map_or(0, |count| u64::from(*count));
            }
            segment += i32::from(pair[0] == eod);
        }
        self.batch += 1;
    }

    /// Number of positions that are scored: targets that aren't ignored.
    pub fn scored(&self) -> usize {
        self.targets.iter().filter(|t| **t >= 0).count()
    }
}

/// A packed store as a Burn dataset of its samples, in stored order.
///
/// ```
/// # use evenburn_data::{DataConfig, prepare};
/// use burn_dataset::Dataset;
/// # let dir = tempfile::tempdir().unwrap();
/// # let text = dir.path().join("a.txt");
/// # std::fs::write(&text, "some words of text ".repeat(20)).unwrap();
/// # let config = DataConfig { path: text.to_str().unwrap().into(), validation_fraction: 0.0,
/// #     tokenizer_vocab: 260, ..Default::default() };
/// # let corpus = prepare(&config, &dir.path().join("cache"), &()).unwrap();
/// let samples = corpus.train.dataset(16).unwrap();
/// assert_eq!(samples.get(0).unwrap().tokens.len(), 17);
/// ```
#[derive(Debug, Clone)]
pub struct SampleDataset {
    store: PackedStore,
    context: usize,
    /// For each shard the number of samples before it, and the total at the end.
    starts: Vec<u64>,
}

impl SampleDataset {
    pub(crate) fn new(store: PackedStore, context: usize) -> Result<Self, DataError> {
        store.require(context)?;
        let mut starts = vec![0];
        let mut total = 0;
        for shard in 0..store.shards() {
            total += store.samples_in(shard, context);
            starts.push(total);
        }
        Ok(Self {
            store,
            context,
            starts,
        })
    }
}

impl Dataset<Sample> for SampleDataset {
    fn get(&self, index: usize) -> Result<Sample, DatasetError> {
        let index = index as u64;
        let shard = self.starts.partition_point(|start| *start <= index) - 1;
        assert!(
            shard < self.store.shards(),
            "index out of bounds for dataset: {index}"
        );
        self.store
            .sample(shard, index - self.starts[shard], self.context)
            .map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_change_after_the_end_of_a_document() {
        let mut batch = Batch::new(5);
        let tokens = vec![7, 0, 8, 9, 0, 5];
        let bytes = Some(vec![9, 0, 2, 1, 0, 4]);
        batch.push(&Sample { tokens, bytes }, 0);
        assert_eq!(batch.tokens, [7, 0, 8, 9, 0]);
        assert_eq!(batch.targets, [0, 8, 9, 0, 5]);
        assert_eq!(batch.segments, [0, 0, 1, 1, 1]);
        assert_eq!((batch.batch, batch.scored()), (1, 5));
        assert_eq!(batch.bytes, Some(7));
        let tokens = vec![1; 6];
        let bytes = None;
        batch.push(&Sample { tokens, bytes }, 0);
        assert_eq!((batch.batch, batch.bytes), (2, None));
    }
}
