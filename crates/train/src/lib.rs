//! Run configuration, training loop, metrics and exact checkpoints.
//!
//! - [`config`]: one TOML file and overrides, each value with its origin, each key with its meaning; the schemes are those of
//!   a registry.
//! - [`Launch`] decides whether a run starts or continues; [`Trainer`] runs it to its [`Summary`].
//! - [`checkpoint`]: complete or absent, every byte verified. A run that was killed anywhere and resumed equals, on a
//!   CPU, the run that wasn't, bit for bit.
//! - [`metrics`]: what is measured of each step, by [monitors](monitor) and by [validation entries](validation), and written to
//!   `metrics.jsonl`, to TensorBoard and to the screen.
//! - [`Training`]: a training whose loop is its caller's; [`step`]: an optimizer step with all that belongs to one.
//! - [`data_parallel`]: the same step on several devices.
//! - [`load_run`] reads a run back, [`evaluate()`] measures it, [`sample`] lets it write.
//!
//! A run directory:
//!
//! ```text
//! runs/20261123T075312Z-name/
//!   config.toml      the resolved configuration, every key
//!   plan.toml        every decision of the model
//!   provenance.json  where each value came from, program, machine, command
//!   tokenizer.json   the tokenizer
//!   metrics.jsonl    one line a step
//!   tb/              the same for TensorBoard
//!   checkpoints/     step-00001000/ ..., latest
//!   samples/         generated text
//!   run.log          messages of the program
//!   cooldown.json    a decay started by hand
//!   config-until-00001000.toml  the configuration until that step, where another one followed
//! ```
//!
//! Weights need `config.toml`, `plan.toml` and their checkpoint, and text the tokenizer. A run that has lost anything else
//! is resumed, evaluated, sampled and exported as before; what is missing is made anew.
//!
//! [`weights_only`] describes the folder of a model without training state.

// A print panics where nobody reads, and would take the run with it.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod batch_tensors;
mod branch;
mod change;
pub mod checkpoint;
mod clock;
pub mod config;
mod cooldown;
mod corpus;
pub mod data_parallel;
pub mod device;
mod durable;
mod error;
pub mod estimate;
mod evaluate;
mod feed;
pub mod groups;
mod hash;
mod launch;
mod learner;
mod learning_rate;
mod memory;
pub mod metrics;
pub mod monitor;
mod place;
mod preflight;
mod provenance;
mod recorded_plan;
mod registry;
mod run_dir;
mod samples;
mod sinks;
pub mod step;
mod task;
mod trained;
mod trainer;
mod training;
mod training_loop;
pub mod validation;
pub mod weights_only;

pub use batch_tensors::BatchTensors;
pub use burn_train;
pub use cooldown::request as request_cooldown;
pub use corpus::{prepare, prepare_in};
pub use error::TrainError;
pub use evaluate::evaluate;
pub use launch::{Launch, Resume, Start, own_tokenizer};
pub use memory::peak_rss;
pub use provenance::Provenance;
pub use registry::Registry;
pub use run_dir::RunDir;
pub use samples::{room, sample};
pub use sinks::{Display, clock};
pub use task::{MicroBatch, Share, Task};
pub use trained::{Recorded, TrainedRun, load_run, load_run_as, recorded};
pub use trainer::{Summary, Trainer};
pub use training::Training;
pub use training_loop::Ended;
