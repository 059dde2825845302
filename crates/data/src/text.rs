//! A text that is read in training, prepared or streamed.

use crate::{Baselines, Corpus, DataError, PackedStore, Pins, Stream, StreamedCorpus, Tokenizer};

/// Tokens that the n-gram models of a stream are counted on at most: windows that are on no disk any more are made again for
/// it.
const STREAM_BASELINE_TOKENS: u64 = 8 << 20;

/// A text that a model learns from and is evaluated on: all of it tokenized, or ahead of the training.
#[derive(Debug, Clone)]
pub enum Text {
    /// All of it is tokenized.
    Prepared(Corpus),
    /// It is tokenized ahead of the training.
    Streamed(StreamedCorpus),
}

impl From<Corpus> for Text {
    fn from(corpus: Corpus) -> Self {
        Self::Prepared(corpus)
    }
}

impl From<StreamedCorpus> for Text {
    fn from(corpus: StreamedCorpus) -> Self {
        Self::Streamed(corpus)
    }
}

impl Text {
    /// What makes the tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::Prepared(corpus) => &corpus.tokenizer,
            Self::Streamed(corpus) => &corpus.tokenizer,
        }
    }

    /// What the model is evaluated on; of a stream, as much as evaluations read.
    pub fn validation(&self) -> &PackedStore {
        match self {
            Self::Prepared(corpus) => &corpus.validation,
            Self::Streamed(corpus) => &corpus.validation,
        }
    }

    /// The training samples of context `T` in the order of a seed, from the beginning.
    ///
    /// # Errors
    /// As [`Stream::new`] and [`StreamedCorpus::stream`].
    pub fn stream(&self, context: usize, seed: u64) -> Result<Stream, DataError> {
        match self {
            Self::Prepared(corpus) => Stream::new(corpus.train.clone(), context, seed),
            Self::Streamed(corpus) => corpus.stream(context, seed),
        }
    }

    /// The commits at which repositories are read.
    pub fn pins(&self) -> &Pins {
        match self {
            Self::Prepared(corpus) => &corpus.pins,
            Self::Streamed(corpus) => &corpus.pins,
        }
    }

    /// What a checkpoint stores to refuse a resume on other data.
    pub fn identity(&self) -> String {
        match self {
            Self::Prepared(corpus) => corpus.manifest.fingerprint(),
            Self::Streamed(corpus) => corpus.identity().to_owned(),
        }
    }

    /// The identity in checkpoints of the first format; a stream has none.
    pub fn first_identity(&self) -> Option<String> {
        match self {
            Self::Prepared(corpus) => Some(corpus.manifest.first_fingerprint()),
            Self::Streamed(_) => None,
        }
    }

    /// What is read and what is left out, in sentences.
    pub fn reading(&self) -> Vec<String> {
        match self {
            Self::Prepared(corpus) => corpus.reading(),
            Self::Streamed(corpus) => corpus.reading(),
        }
    }

    /// N-gram models of the training tokens, up to `limit` of them; of a stream, those of its first windows in the order of a
    /// seed, which are fewer.
    ///
    /// # Errors
    /// As [`Baselines::fit`] and [`StreamedCorpus::baselines`].
    pub fn baselines(
        &self,
        vocab_size: usize,
        seed: u64,
        limit: u64,
    ) -> Result<Baselines, DataError> {
        match self {
            Self::Prepared(corpus) => Baselines::fit(&corpus.train, vocab_size, Some(limit)),
            Self::Streamed(corpus) => {
                corpus.baselines(vocab_size, seed, limit.min(STREAM_BASELINE_TOKENS))
            }
        }
    }
}
