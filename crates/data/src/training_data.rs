//! What a training reads: one text, or a mixture of several.

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::mixture::{Mixture, MixturePosition, MixtureSource, SourcePosition, Weight};
use crate::{
    Baselines, Batch, Corpus, Cursor, DataError, NetworkTraffic, Pins, Stream, StreamedCorpus,
    Text, Tokenizer,
};

/// The text that a model learns from and is evaluated on.
#[allow(clippy::large_enum_variant, reason = "a run has one")]
#[derive(Debug, Clone)]
pub enum TrainingData {
    /// That of `data.path`.
    One(Text),
    /// That of `data.sources`, of which there is at least one, in the tokens of one tokenizer.
    Mixture(Vec<MixedText>),
}

/// The text of a source of a mixture.
#[derive(Debug, Clone)]
pub struct MixedText {
    /// The name of the source.
    pub name: String,
    /// How often a sample is drawn from it, compared with the others.
    pub weight: Weight,
    /// The text.
    pub text: Text,
}

impl From<Text> for TrainingData {
    fn from(text: Text) -> Self {
        Self::One(text)
    }
}

impl From<Corpus> for TrainingData {
    fn from(corpus: Corpus) -> Self {
        Self::One(corpus.into())
    }
}

impl From<StreamedCorpus> for TrainingData {
    fn from(corpus: StreamedCorpus) -> Self {
        Self::One(corpus.into())
    }
}

impl TrainingData {
    /// Its texts, those of a mixture with their names.
    pub fn texts(&self) -> Vec<(Option<&str>, &Text)> {
        match self {
            Self::One(text) => vec![(None, text)],
            Self::Mixture(sources) => sources
                .iter()
                .map(|source| (Some(source.name.as_str()), &source.text))
                .collect(),
        }
    }

    /// Whether some of it is tokenized ahead of the training.
    pub fn is_streamed(&self) -> bool {
        let mut texts = self.texts().into_iter();
        texts.any(|(_, text)| matches!(text, Text::Streamed(_)))
    }

    /// What makes the tokens.
    pub fn tokenizer(&self) -> &Tokenizer {
        match self {
            Self::One(text) => text.tokenizer(),
            Self::Mixture(sources) => sources[0].text.tokenizer(),
        }
    }

    /// The training samples of context `T` in the order of a seed, from the beginning.
    ///
    /// # Errors
    /// As [`Text::stream`].
    pub fn samples(&self, context: usize, seed: u64) -> Result<TrainingSamples, DataError> {
        match self {
            Self::One(text) => Ok(TrainingSamples::One(text.stream(context, seed)?)),
            Self::Mixture(sources) => {
                let source = |source: &MixedText| {
                    Ok(MixtureSource {
                        name: source.name.clone(),
                        weight: source.weight.clone(),
                        stream: source.text.stream(context, seed)?,
                    })
                };
                let sources = sources
                    .iter()
                    .map(source)
                    .collect::<Result<_, DataError>>()?;
                Ok(TrainingSamples::Mixture(Mixture::new(
                    sources, context, seed,
                )))
            }
        }
    }

    /// The commits at which repositories are read.
    pub fn pins(&self) -> Pins {
        self.texts()
            .into_iter()
            .map(|(_, text)| text.pins())
            .collect()
    }

    /// What a checkpoint stores to refuse a resume on other data: of a mixture, a SHA-256 over the names and identities of its
    /// sources.
    pub fn identity(&self) -> String {
        match self {
            Self::One(text) => text.identity(),
            Self::Mixture(sources) => {
                let mut key = Key::new("identity of a mixture");
                for source in sources {
                    key.add(&source.name);
                    key.add(&source.text.identity());
                }
                key.finish()
            }
        }
    }

    /// The identity in checkpoints of the first format, where there were such.
    pub fn first_identity(&self) -> Option<String> {
        match self {
            Self::One(text) => text.first_identity(),
            Self::Mixture(_) => None,
        }
    }

    /// What is read and what is left out, in sentences.
    pub fn reading(&self) -> Vec<String> {
        let texts = self.texts().into_iter();
        let lines = texts.map(|(name, text)| (name, text.reading()));
        lines.flat_map(|(name, lines)| named(name, lines)).collect()
    }

    /// N-gram models of the training tokens, up to `limit` of them.
    ///
    /// # Errors
    /// As [`Text::baselines`]; [`DataError::Config`] for a mixture, whose text no model is counted on.
    pub fn baselines(
        &self,
        vocab_size: usize,
        seed: u64,
        limit: u64,
    ) -> Result<Baselines, DataError> {
        match self {
            Self::One(text) => text.baselines(vocab_size, seed, limit),
            Self::Mixture(_) => Err(DataError::config(
                "data.sources",
                "no n-gram models are made of a mixture",
            )),
        }
    }
}

/// Sentences with the name of the source that they are about.
fn named(name: Option<&str>, lines: Vec<String>) -> Vec<String> {
    match name {
        None => lines,
        Some(name) => lines
            .into_iter()
            .map(|line| format!("{name}: {line}"))
            .collect(),
    }
}

/// Where the training samples of a run stand: the next one that the ranks together will read.
///
/// ```
/// use evenburn_data::{Cursor, Position};
/// let of_stream: Position = serde_json::from_str(r#"{"epoch": 1, "shard": 2, "sample": 3}"#)?;
/// assert_eq!(of_stream, Cursor { epoch: 1, shard: 2, window: 0, sample: 3 }.into());
/// assert_eq!(of_stream.sources().count(), 0);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Position {
    /// In one text.
    One(Cursor),
    /// In the sources of a mixture.
    Mixture(MixturePosition),
}

impl Default for Position {
    fn default() -> Self {
        Self::One(Cursor::default())
    }
}

impl From<Cursor> for Position {
    fn from(cursor: Cursor) -> Self {
        Self::One(cursor)
    }
}

impl Position {
    /// The sources of a mixture by name; none where there is one text.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourcePosition)> {
        let sources = match self {
            Self::One(_) => None,
            Self::Mixture(position) => Some(&position.sources),
        };
        let sources = sources.into_iter().flatten();
        sources.map(|(name, source)| (name.as_str(), source))
    }
}

/// The training samples of a run, without end.
#[derive(Debug)]
pub enum TrainingSamples {
    /// Those of one text.
    One(Stream),
    /// Those of several.
    Mixture(Mixture),
}

impl TrainingSamples {
    /// The next `n` samples.
    ///
    /// # Errors
    /// As [`Stream::next_batch`].
    pub fn next_batch(&mut self, n: usize) -> Result<Batch, DataError> {
        match self {
            Self::One(stream) => stream.next_batch(n),
            Self::Mixture(mixture) => mixture.next_batch(n),
        }
    }

    /// Where they stand.
    pub fn position(&self) -> Position {
        match self {
            Self::One(stream) => Position::One(stream.cursor()),
            Self::Mixture(mixture) => Position::Mixture(mixture.position()),
        }
    }

    /// Goes on from a position.
    ///
    /// # Errors
    /// As [`Stream::seek`] and [`Mixture::seek`]; [`DataError::Config`] for a mixture's position in one text, and the other way
    /// round.
    pub fn seek(&mut self, position: &Position) -> Result<(), DataError> {
        match (self, position) {
            (Self::One(stream), Position::One(cursor)) => stream.seek(*cursor),
            (Self::Mixture(mixture), Position::Mixture(position)) => mixture.seek(position),
            (Self::One(_), Position::Mixture(_)) => Err(DataError::config(
                "data.path",
                "names one text, and the run has a mixture of several (data.sources)",
            )),
            (Self::Mixture(_), Position::One(_)) => Err(DataError::config(
                "data.sources",
                "are a mixture, and the run has one text (data.path)",
            )),
        }
    }

    /// What went over the network for them, where something can.
    pub fn traffic(&self) -> Option<NetworkTraffic> {
        match self {
            Self::One(stream) => stream.traffic(),
            Self::Mixture(mixture) => mixture.traffic(),
        }
    }

    /// What the user should know that has come to light since the last call, in sentences.
    pub fn news(&mut self) -> Vec<String> {
        match self {
            Self::One(stream) => stream.news(),
            Self::Mixture(mixture) => {
                let news = mixture.news();
                news.flat_map(|(name, lines)| named(Some(name), lines))
                    .collect()
            }
        }
    }
}
