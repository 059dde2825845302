//! What the crate promises, on models that train in a second.

mod config;
mod launch;
mod run;
mod world;
