//! What a model is given: `B` samples of `T` positions.

use burn_dataset::{Dataset, DatasetError};
use serde::{Deserialize, Serialize};

use crate::{DataError, PackedStore};

/// The tokens between which a document lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundaries {
    /// The token that ends every document.
    pub eod: u32,
    /// The token that begins every document, where one does.
    pub bos: Option<u32>,
}

impl Boundaries {
    /// The token from which a document's first one is predicted: its BOS, or the end of the document before it.
    ///
    /// ```
    /// use evenburn_data::Boundaries;
    /// assert_eq!(Boundaries { eod: 0, bos: None }.first(), 0);
    /// assert_eq!(Boundaries { eod: 0, bos: Some(1) }.first(), 1);
    /// ```
    pub fn first(self) -> u32 {
        self.bos.unwrap_or(self.eod)
    }
}

/// `T + 1` consecutive tokens of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The tokens, `[T + 1]`. The first `T` are inputs, the last `T` their targets.
    pub tokens: Vec<u32>,
    /// UTF-8 bytes of text that each token stands for, `[T + 1]`, where that is known.
    pub bytes: Option<Vec<u32>>,
}

/// A batch of samples, row after row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// `[B, T]`. A document begins with [`Boundaries::first`], as a generated text does: as a
    /// target, an end-of-document token ends a document, and as an input it begins the next one
    /// where there is no BOS.
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

    /// Appends a sample of `time + 1` tokens. A BOS is no text: as a target it is ignored.
    pub fn push(&mut self, sample: &Sample, boundaries: Boundaries) {
        self.bytes = self.bytes.filter(|_| sample.bytes.is_some());
        let mut segment = 0;
        for (position, pair) in sample.tokens.windows(2).enumerate() {
            let begins = position > 0 && pair[0] == boundaries.first();
            segment += i32::from(begins);
            let scored = Some(pair[1]) != boundaries.bos;
            self.tokens.push(pair[0] as i32);
            self.targets.push(if scored { pair[1] as i32 } else { -1 });
            self.segments.push(segment);
            if let (Some(sum), Some(bytes)) = (&mut self.bytes, &sample.bytes) {
                *sum += bytes.get(position + 1).map_or(0, |count| u64::from(*count));
            }
        }
        self.batch += 1;
    }

    /// Appends the samples of another batch of as many positions.
    pub fn append(&mut self, other: Self) {
        self.batch += other.batch;
        self.tokens.extend(other.tokens);
        self.targets.extend(other.targets);
        self.segments.extend(other.segments);
        self.bytes = self.bytes.zip(other.bytes).map(|(own, more)| own + more);
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
    /// For each window the number of samples before it, and the total at the end.
    starts: Vec<u64>,
}

impl SampleDataset {
    pub(crate) fn new(store: PackedStore, context: usize) -> Result<Self, DataError> {
        store.require(context)?;
        let mut starts = vec![0];
        let mut total = 0;
        for window in 0..store.windows() {
            total += store.samples_in(window, context);
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
        let window = self.starts.partition_point(|start| *start <= index) - 1;
        assert!(
            window < self.store.windows(),
            "index out of bounds for dataset: {index}"
        );
        self.store
            .sample(window, index - self.starts[window], self.context)
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
    fn a_document_begins_with_what_a_generated_text_begins_with() {
        let segments = |tokens: Vec<u32>, bos| {
            let mut batch = Batch::new(tokens.len() - 1);
            let bytes = None;
            batch.push(&Sample { tokens, bytes }, Boundaries { eod: 0, bos });
            (batch.targets, batch.segments)
        };
        for (tokens, bos, targets, want) in [
            (
                vec![7, 0, 8, 9, 0, 5],
                None,
                vec![0, 8, 9, 0, 5],
                vec![0, 1, 1, 1, 2],
            ),
            // A sample that begins between two documents.
            (
                vec![0, 8, 9, 0, 5],
                None,
                vec![8, 9, 0, 5],
                vec![0, 0, 0, 1],
            ),
            // Two ends in a row: an empty document.
            (vec![7, 0, 0, 8], None, vec![0, 0, 8], vec![0, 1, 2]),
            (
                vec![7, 0, 1, 8, 0, 1, 5],
                Some(1),
                vec![0, -1, 8, 0, -1, 5],
                vec![0, 0, 1, 1, 1, 2],
            ),
            (vec![1, 8, 0, 1], Some(1), vec![8, 0, -1], vec![0, 0, 0]),
        ] {
            assert_eq!(segments(tokens.clone(), bos), (targets, want), "{tokens:?}");
        }
    }

    #[test]
    fn bytes_are_those_of_the_targets() {
        let boundaries = Boundaries { eod: 0, bos: None };
        let mut batch = Batch::new(5);
        let sample = |bytes| Sample {
            tokens: vec![7, 0, 8, 9, 0, 5],
            bytes,
        };
        batch.push(&sample(Some(vec![9, 0, 2, 1, 0, 4])), boundaries);
        assert_eq!((batch.batch, batch.scored()), (1, 5));
        assert_eq!(batch.bytes, Some(7));
        batch.push(&sample(None), boundaries);
        assert_eq!((batch.batch, batch.bytes), (2, None));
    }
}
