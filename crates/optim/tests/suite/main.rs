//! The tests of the public interface, in one binary.

// Helpers of tests fail like tests.
#![allow(clippy::unwrap_used)]

mod adam;
mod common;
mod config;
mod engine;
mod muon;
mod own;
mod parts;
mod per_tensor;
mod properties;
mod reference;
mod registry;
mod schedule;
mod state;
mod trajectories;
