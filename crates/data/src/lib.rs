//! A resumable stream of packed token samples from text files.
//!
//! [`prepare`] finds the text that a [`DataConfig`] names, tokenizes it into cached files and opens
//! both splits as [`PackedStore`]s; [`prepare_ahead`] leaves that to the [`Stream`], which reads shuffled training batches
//! with a [`Cursor`] that fits in a checkpoint.
//!
//! ```text
//! layout (which files) -> group (shards) -> decode (documents) -> shard_text (windows, tokens)
//!        -> tokenize, store (all, in files) or ahead (in memory) -> order, stream (batches) -> model
//! ```
//!
//! - The order of samples is a pure function of the text, seed, epoch and sample; nothing depends on
//!   how many ranks or threads read, or on what is cached.
//! - A sample never crosses a window: a run of consecutive documents of a shard.
//! - Nothing in a file can make this crate panic: wrong input is a [`DataError`].

mod ahead;
mod baseline;
mod batch;
mod bpe;
mod byte_level;
mod config;
mod corpus;
mod cut;
mod decode;
mod digest;
mod error;
mod fetching;
mod files;
mod glance;
mod group;
mod inspect;
mod key;
mod layout;
mod learned;
mod listed;
mod manifest;
pub mod megatron;
mod mixture;
pub mod order;
#[cfg(test)]
#[allow(dead_code, reason = "other tests write columns of numbers")]
#[path = "../tests/common/parquet.rs"]
mod parquet_files;
mod parts;
mod places;
mod placing;
mod prepare;
mod progress;
mod reading;
mod reserved;
mod score;
mod shard_text;
mod source;
mod split;
mod stages;
mod store;
mod stream;
mod text;
mod token_bytes;
mod token_file;
mod tokenize;
mod tokenizer;
mod training_data;
mod window;
mod xxh3;

pub use ahead::{
    Evaluation, StreamedCorpus, clear_streams, kept_streams, prepare_ahead, prepare_ahead_in,
};
pub use baseline::{BaselineScores, Baselines};
pub use batch::{Batch, Boundaries, Sample, SampleDataset};
pub use config::{DataConfig, DocumentMask, OnBadRecord, PathList, Prepare};
pub use corpus::Corpus;
pub use decode::{
    BadRecords, Document, Documents, FORMATS, SPLIT_FIELD, TXT_SEPARATOR, contained, documents,
};
pub use error::DataError;
pub use fetching::fetch;
pub use glance::{Glance, GlanceTotals, glance};
pub use inspect::{
    DocumentPreview, InspectOptions, Inspection, SamplePreview, SplitSummary, inspect,
};
pub use layout::{DataSetFiles, LeftOut, Listing, PlacedSource, Rule, SourceRole, find_sources};
pub use learned::train_tokenizer;
pub use listed::ListedFile;
pub use manifest::{GroupRecord, Manifest, ShardRecord, SourceRecord, TokenizerRecord, Totals};
pub use mixture::{
    Mixture, MixturePosition, MixtureSource, SourceConfig, SourcePosition, Weight, draw,
    mixture_tokenizer,
};
pub use places::{Pins, open_storage};
pub use placing::Tally;
pub use prepare::{prepare, prepare_in};
pub use progress::{Phase, Progress, ProgressState};
pub use score::Score;
pub use source::{LocalFile, ReadSeek, Source};
pub use split::Split;
pub use stages::{Stage, StageLimits, Stages, measure_stages};
pub use store::PackedStore;
pub use stream::{Cursor, Stream};
pub use text::Text;
pub use token_bytes::TokenBytesRecord;
pub use tokenizer::{Tokenizer, train_bpe};
pub use training_data::{MixedText, Position, TrainingData, TrainingSamples};
pub use window::NetworkTraffic;
