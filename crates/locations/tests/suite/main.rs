//! This crate against a stand-in for the hub that fails on demand (`tests/hub/README.md`).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod cache;
mod faults;
mod hub;
mod limits;
mod listings;
mod objects;
mod ranged;
mod redirected;
mod web;
