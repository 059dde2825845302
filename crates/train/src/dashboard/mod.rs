//! The dashboard: where a run is, its figures, and their curves, on a terminal.

mod board;
mod keys;
mod points;
mod screen;

#[cfg(test)]
pub(crate) use board::tests::drawn;
pub(crate) use board::{Board, Part};
pub(crate) use screen::Screen;
