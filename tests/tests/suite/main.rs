//! The end-to-end tests in one binary, but for `operations.rs`, which must be alone in its process.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

mod advice;
mod bad_input;
#[cfg(unix)]
mod benchmark_data;
mod benchmarks;
mod budgets;
mod bytes;
mod command_line;
mod commands;
mod constraints;
mod cost;
mod data;
mod devices;
mod docs;
mod elsewhere;
mod evaluation;
mod exported_texts;
mod folding;
mod hub;
mod imported_texts;
mod imported_weights;
mod interchange;
mod kernels;
mod killed;
mod locations;
mod longer;
mod lost_files;
// Elsewhere a run knows its memory at some moments, not its peak.
#[cfg(target_os = "linux")]
mod memory;
mod optimizers;
mod parity;
mod parity_eval;
mod preflight;
mod presets;
mod program;
mod published_sizes;
mod qk_clip;
// Signals that stop a process, a disk of a few kilobytes.
#[cfg(target_os = "linux")]
mod ranks;
mod resume;
// `/dev/full`, and who ignores a signal.
#[cfg(target_os = "linux")]
mod streams;
