//! The dashboard: where a run is, its figures, and their curves, on a terminal.

mod board;
mod keys;
mod points;
mod renderer;
mod screen;

pub(crate) use renderer::open;
