//! A resumable stream of packed token samples from text files.
//!
//! [`prepare`] finds the text that a [`DataConfig`] names, tokenizes it into cached shards and opens
//! both splits as [`PackedStore`]s; a [`Stream`] reads shuffled training batches from one, with a
//! [`Cursor`] that fits in a checkpoint.
//!
//! ```text
//! layout (which files) -> decode (documents) -> tokenize (shards: megatron, manifest)
//!        -> store (samples) -> order, stream (batches) -> model
//! ```
//!
//! - The order of samples is a pure function of manifest, seed, epoch and sample; nothing depends on
//!   how many ranks or threads read.
//! - A sample never crosses a shard.
//! - Nothing in a file can make this crate panic: wrong input is a [`DataError`].

mod baseline;
mod batch;
mod bpe;
mod byte_level;
mod config;
mod cut;
mod decode;
mod digest;
mod error;
mod files;
mod inspect;
mod layout;
mod listed;
mod manifest;
pub mod megatron;
pub mod order;
mod parts;
mod placing;
mod prepare;
mod progress;
mod reading;
mod reserved;
mod score;
mod source;
mod split;
mod stages;
mod store;
mod stream;
mod token_bytes;
mod tokenize;
mod tokenizer;
mod xxh3;

pub use baseline::{BaselineScores, Baselines};
pub use batch::{Batch, Boundaries, Sample, SampleDataset};
pub use config::{DataConfig, DocumentMask, PathList};
pub use decode::{Document, Documents, FORMATS, SPLIT_FIELD, TXT_SEPARATOR, documents};
pub use error::DataError;
pub use inspect::{
    DocumentPreview, InspectOptions, Inspection, SamplePreview, SplitSummary, inspect,
};
pub use layout::{LeftOut, Listing, PlacedSource, Rule, SourceRole, find_sources};
pub use listed::ListedFile;
pub use manifest::{Manifest, ShardRecord, SourceRecord, TokenizerRecord, Totals};
pub use placing::Tally;
pub use prepare::{Corpus, prepare, prepare_in, train_tokenizer};
pub use progress::{Phase, Progress, ProgressState};
pub use score::Score;
pub use source::{LocalFile, ReadSeek, Source};
pub use split::Split;
pub use stages::{Stage, StageLimits, Stages, measure_stages};
pub use store::PackedStore;
pub use stream::{Cursor, Stream};
pub use token_bytes::TokenBytesRecord;
pub use tokenizer::{Tokenizer, train_bpe};
