//! Errors: what can be wrong with a configuration, weights, tokens or a prompt.

use crate::dims::Site;

/// A configuration or a scheme that does not describe a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A size that is zero, odd, or does not fit another one.
    #[error("model.{key}: {why}")]
    Size {
        /// The key of the `[model]` section.
        key: &'static str,
        /// What is wrong with its value.
        why: String,
    },
    /// Two decisions of a scheme that contradict each other.
    #[error("{scheme}, {place}: {first} clashes with {second}")]
    Clash {
        /// Name of the scheme.
        scheme: String,
        /// Where in the model.
        place: String,
        /// One decision.
        first: String,
        /// The other one.
        second: String,
    },
    /// A scheme that this program doesn't know.
    #[error("the scheme `{scheme}` {why}")]
    Scheme {
        /// Its name.
        scheme: String,
        /// Why it can't, as the end of a sentence about it.
        why: String,
    },
    /// A number outside of its range.
    #[error("{scheme}, {place}: {what} is {value}, which is not a usable number")]
    Number {
        /// Name of the scheme.
        scheme: String,
        /// Where in the model.
        place: String,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
    },
    /// A function or a rule of a recorded plan that the program doesn't have.
    #[error("{scheme}, {place}: the {what} `{name}`: {why}")]
    Unknown {
        /// Name of the scheme.
        scheme: String,
        /// The path it is recorded at.
        place: String,
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

impl PlanError {
    pub(crate) fn size(key: &'static str, why: impl Into<String>) -> Self {
        Self::Size {
            key,
            why: why.into(),
        }
    }
}

/// Weights that do not belong to the model they are loaded into.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Parameters without a value, or values without a parameter.
    #[error("weights do not match the model: missing [{}], unexpected [{}]", missing.join(", "), unexpected.join(", "))]
    Names {
        /// Paths of the model that have no value.
        missing: Vec<String>,
        /// Paths that have a value and no parameter.
        unexpected: Vec<String>,
    },
    /// A value of another shape.
    #[error("{path}: the model has shape {expected:?}, the weights have {found:?}")]
    Shape {
        /// Path of the parameter.
        path: String,
        /// Shape in the model.
        expected: Vec<usize>,
        /// Shape of the value.
        found: Vec<usize>,
    },
    /// A path that no parameter of a decoder has.
    #[error("{path}: not a parameter of a decoder")]
    Path {
        /// The path.
        path: String,
    },
}

/// Token ids that a model can't read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// One that the model has no entry for.
    #[error(
        "token {token} at position {position} of sequence {sequence} is outside the vocabulary of {vocab}"
    )]
    Outside {
        /// The token.
        token: i64,
        /// The sequence, counted from 0.
        sequence: usize,
        /// The position in it, counted from 0.
        position: usize,
        /// Entries of the vocabulary.
        vocab: usize,
    },
    /// So many that they are no sequences of equal length.
    #[error("{ids} tokens are no whole sequences of {time}")]
    Rows {
        /// Tokens there are.
        ids: usize,
        /// Tokens of a sequence.
        time: usize,
    },
}

/// A prompt or an option that can't be sampled from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// Nothing to continue.
    #[error("the prompt has no tokens; give at least one, for example the end-of-document token")]
    EmptyPrompt,
    /// A token that the model does not know.
    #[error(
        "token {token} at position {position} of the prompt is outside the vocabulary of {vocab}"
    )]
    Token {
        /// The token.
        token: i64,
        /// Its position, counted from 0.
        position: usize,
        /// Entries of the vocabulary.
        vocab: usize,
    },
    /// No id may be drawn.
    #[error("none of the {vocab} entries of the vocabulary may be drawn")]
    NothingAllowed {
        /// Entries of the vocabulary.
        vocab: usize,
    },
    /// An option outside its range.
    #[error("{option} = {value} must be {range}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: f64,
        /// Where it must lie.
        range: &'static str,
    },
    /// More tokens than there are learned positions.
    #[error(
        "{asked} tokens with the prompt, but the model has learned {context} positions; ask for fewer"
    )]
    Context {
        /// Tokens of the prompt and new ones.
        asked: usize,
        /// Positions of the model.
        context: usize,
    },
    /// The model produced numbers that are no probabilities.
    #[error("logits are not finite at position {position}")]
    NonFinite {
        /// Position of the token that was to be drawn.
        position: usize,
    },
    /// The device did not hand over a result.
    #[error("reading logits from the device failed: {0}")]
    Read(String),
}

/// A decision about a matrix site that a strategy has to name in an error.
pub(crate) fn place(layer: usize, site: Site) -> String {
    match site {
        Site::Embedding | Site::Positions | Site::Head => site.to_string(),
        _ => format!("block {layer}, {site}"),
    }
}

/// Tokens that a key/value cache can't take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A cache of another model.
    #[error("the cache has {cache} layers and the model {model}")]
    Depth {
        /// Blocks of the model.
        model: usize,
        /// Layers of the cache.
        cache: usize,
    },
    /// More tokens than a table of learned positions has rows.
    #[error("there is no position {position}: the model has learned {context}")]
    Context {
        /// Rows of the table.
        context: usize,
        /// Positions that were asked for.
        position: usize,
    },
}

/// A decoder that can't be folded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// An interpolation keeps nothing of the stream, so that no sum equals it.
    #[error(
        "{place}, channel {channel}: the interpolation keeps {kept:.1e} of the stream, which no sum can replace"
    )]
    Vanishes {
        /// Which interpolation.
        place: String,
        /// Which channel.
        channel: usize,
        /// What it keeps.
        kept: f64,
    },
    /// The decoder's parameters are not those of the plan.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The folded plan contradicts itself.
    #[error(transparent)]
    Plan(#[from] PlanError),
}
