//! What the crate promises, on models that train in a second.

// clippy.toml allows it in tests; these helpers are no tests of their own.
#![allow(clippy::unwrap_used)]

mod config;
mod functions;
mod launch;
mod mixed;
mod monitors;
mod ranks;
mod run;
mod streamed;
mod world;
