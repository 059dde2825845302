//! Benchmarks of language models, scored as `lm-evaluation-harness` 0.4.13 scores them.
//!
//! A task is data: a TOML file that says where its documents lie and how a document becomes questions to a model
//! ([`Task`], [`TaskRegistry`]). [`DataSets`] finds the documents, [`prepare`] makes token sequences of them, a scorer answers
//! each with a [`TokenScore`], and [`Prepared::finish`] makes metrics of the answers. The scorer of this crate is [`Scorer`];
//! nothing else here knows a model. A [`Benchmark`] is all of it in two calls.
//!
//! ```text
//! data_sets (files) -> records (documents) -> task (contexts, continuations) -> few_shot -> encode, rolling (tokens) -> a scorer ->
//! metrics (results)
//! ```
//!
//! - Documents, examples and tokens are those of the harness, character by character; where its rules are Python's,
//!   so are they here (`python`).
//! - Nothing in a file can make this crate panic: wrong input is an [`EvalError`] that names file, line and field.

mod benchmark;
mod config;
mod data_sets;
mod document;
mod encode;
mod error;
mod few_shot;
mod metrics;
mod model;
mod paired;
mod prepare;
pub mod python;
mod records;
mod request;
mod result;
mod rolling;
mod scorer;
mod task;

pub use benchmark::Benchmark;
pub use config::{EvalConfig, TaskConfig, TaskNames, TaskSelection};
pub use data_sets::{DataOrigin, DataSets, FoundData};
pub use document::{Document, Place, Position};
pub use encode::{Encoder, TextEncoder, encode_request};
pub use error::EvalError;
pub use few_shot::Sampler;
pub use metrics::{Metric, centered, mean, perplexity, perplexity_stderr, stderr_of_mean};
pub use model::TokenScore;
pub use paired::{Difference, differences};
pub use prepare::{OnBad, Options, Prepared, Skipped, prepare};
pub use records::{Documents, FORMATS, documents};
pub use request::{Request, RequestFault, TokenRequest};
pub use result::{
    ChoiceRecord, DocResult, GroupResult, RequestRecord, RollingRecord, TaskResult, WindowRecord,
};
pub use rolling::rolling_windows;
pub use scorer::{Passes, ScoreError, Scorer};
pub use task::{
    DataSet, Definition, Examples, Group, Listed, Selection, Task, TaskKind, TaskRegistry,
};
